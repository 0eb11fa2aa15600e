"""The transcription engine against faster-whisper, on the same weights."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import (
    InvalidValue,
    MediaUndecodable,
)
from models.transcribe import audio
from models.transcribe.request import TranscribeRequest
from tests.conftest import ROOT, row
from tests.models.driving import Ticket, prepare, run

WHISPER = row("Tiny_Whisper")


def decode(path: Path, timeout_s: float = 30, limit_s: float = 3600) -> Any:
    return asyncio.run(audio.decode(path, timeout_s, limit_s))


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's speech, as a file."""
    job = json.loads((ROOT / "examples/transcribe.json").read_text())
    path = tmp_path_factory.mktemp("speech") / "speech.ogg"
    path.write_bytes(base64.b64decode(job["input"]["audioUrl"].partition(",")[2]))
    return path


def convert(source: Path, target: Path, codec: str) -> Path:
    import av

    with av.open(str(source)) as reader, av.open(str(target), "w") as writer:
        stream = writer.add_stream(codec, rate=44100, layout="stereo")
        resampler = av.AudioResampler(stream.codec_context.format, "stereo", 44100)
        for frame in reader.decode(audio=0):
            frame.pts = None
            for out in resampler.resample(frame):
                for packet in stream.encode(out):
                    writer.mux(packet)
        for packet in stream.encode(None):
            writer.mux(packet)
    return target


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("wav", "pcm_s16le"), ("flac", "flac"), ("mp3", "mp3"), ("m4a", "aac"), ("mkv", "pcm_s16le")],
)
def test_decoded_samples_are_faster_whispers(speech, tmp_path, suffix, codec):
    from faster_whisper.audio import decode_audio

    path = convert(speech, tmp_path / f"speech.{suffix}", codec)
    ours, reference = decode(path), decode_audio(str(path))
    assert np.array_equal(ours, reference)
    assert len(ours) > 16_000


def test_transcripts_are_faster_whispers(load, speech):
    from dataclasses import asdict

    from faster_whisper.audio import decode_audio

    engine = load(WHISPER)
    for options, arguments in (
        ({}, {}),
        ({"language": "de", "prompt": "bolego"}, {"language": "de", "initial_prompt": "bolego"}),
        ({"task": "translate", "words": True}, {"task": "translate", "word_timestamps": True}),
        ({"vad": True, "hotwords": "fox"}, {"vad_filter": True, "hotwords": "fox"}),
    ):
        ours = run(engine, TranscribeRequest(speech, **options))
        segments, info = engine._model.transcribe(decode_audio(str(speech)), **arguments)
        expected = [asdict(one) for one in segments]
        assert json.loads(json.dumps(ours.segments)) == json.loads(
            json.dumps(expected, default=float)
        )
        assert (ours.language, ours.duration_s) == (info.language, info.duration)
        assert ours.segments


def test_files_that_hold_no_audio(load, tmp_path):
    engine = load(WHISPER)
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    concat = tmp_path / "concat.txt"
    concat.write_text("ffconcat version 1.0\nfile /etc/passwd\n")
    noise = tmp_path / "noise.mp3"
    noise.write_bytes(np.random.default_rng(1).bytes(5000))
    (tmp_path / "empty.wav").write_bytes(b"")
    for path in (playlist, concat, noise, tmp_path / "empty.wav"):
        with pytest.raises(MediaUndecodable) as caught:
            prepare(engine, TranscribeRequest(path))
        assert caught.value.param == "audioUrl"
        assert str(tmp_path) not in caught.value.message


def test_a_truncated_file_gives_what_it_has(load, speech, tmp_path):
    path = convert(speech, tmp_path / "speech.flac", "flac")
    whole = len(decode(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert 0 < len(decode(path)) < whole


@pytest.mark.parametrize(("suffix", "codec"), [("mp3", "mp3"), ("m4a", "aac"), ("flac", "flac")])
def test_a_damaged_packet_does_not_end_the_audio(speech, tmp_path, suffix, codec):
    path = convert(speech, tmp_path / f"speech.{suffix}", codec)
    whole = len(decode(path))
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 300] = np.random.default_rng(3).bytes(300)
    path.write_bytes(content)
    assert len(decode(path)) > 0.75 * whole


def test_a_cancelled_decoding_ends_its_process(tmp_path):
    """A named pipe: the decoder waits for data that never comes."""
    import os

    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)

    async def cancel() -> list[int]:
        import psutil

        task = asyncio.create_task(audio.decode(pipe, 60, 3600))
        await asyncio.sleep(1)
        children = psutil.Process().children()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children
        return [child.pid for child in children if child.is_running()]

    assert asyncio.run(cancel()) == []


def test_decoding_is_bounded(speech):
    with pytest.raises(audio.Undecodable, match="longer than"):
        decode(speech, limit_s=1.0)
    with pytest.raises(audio.Undecodable, match="took longer"):
        decode(speech, timeout_s=0.001)


def test_decoding_does_not_suffer_from_a_busy_thread(speech):
    """The reason for the process: in this one it would be a hundred times slower."""
    start = time.perf_counter()
    decode(speech)
    alone = time.perf_counter() - start
    stop = threading.Event()
    spinner = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    spinner.start()
    try:
        start = time.perf_counter()
        decode(speech)
        assert time.perf_counter() - start < 10 * alone + 1
    finally:
        stop.set()
        spinner.join()


def test_an_unknown_language_names_the_known_ones(load, speech):
    with pytest.raises(InvalidValue, match="one of .*en.*got 'xx'"):
        prepare(load(WHISPER), TranscribeRequest(speech, language="xx"))


def test_a_cancelled_transcript_stops_after_its_segment(load, speech, tmp_path):
    long = tmp_path / "long.wav"
    samples = np.tile(decode(speech), 40)
    import wave

    with wave.open(str(long), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes((samples * 32767).astype(np.int16).tobytes())
    engine = load(WHISPER)
    ticket = Ticket(prepare(engine, TranscribeRequest(long)), cancel_at=1)
    [output] = engine.run([ticket])
    assert len(output.segments) == 1
    assert output.duration_s > 60

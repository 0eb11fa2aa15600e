"""Transcription against faster-whisper, and what becomes of files that are not as they should be."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import math
import re
import threading
import time
import weakref
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.sounds import silence
from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
    MediaUndecodable,
    UnsupportedParameter,
)
from models.transcribe.audio import decoding, voice_activity
from models.transcribe.audio.decoding import RATE_HZ
from models.transcribe.audio.samples import Samples
from models.transcribe.request import Heard, TranscribeRequest, Transcript
from models.transcribe.whisper import batched, logprobs, sequential
from models.transcribe.whisper.mel import Mel
from models.transcribe.whisper.recording import Recording, Window, covering, windows
from models.work import Progress, Unfinished
from tests.conftest import row
from tests.support.driving import Ticket, prepare, run, through
from tests.support.sounds import (  # noqa: F401 - fixtures
    CODECS,
    QUICK,
    SENTENCE,
    WHISPER,
    convert,
    decode,
    floats,
    real,
    sentence,
    spoken,
    write,
)


def same(ours: Sequence[Any], expected: Sequence[Any]) -> None:
    """Two lists of segments, but for what of numpy is in them."""
    want = json.loads(json.dumps([asdict(one) for one in expected], default=float))
    assert json.loads(json.dumps(list(ours))) == want


# Decoding ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "codec"), CODECS)
def test_decoded_samples_are_faster_whispers(sentence, tmp_path, suffix, codec):
    from faster_whisper.audio import decode_audio

    rate = 48000 if codec == "libopus" else 44100
    path = convert(sentence, tmp_path / f"speech.{suffix}", codec, rate)
    decoded = decode(path)
    assert np.array_equal(floats(decoded), decode_audio(str(path)))
    assert decoded.duration_s > 7
    assert (decoded.damaged, decoded.declared_s) == ((), None)


def refused(path: Path, **limits: float) -> str:
    with pytest.raises(decoding.Undecodable) as caught:
        decode(path, **limits)
    return caught.value.code


def test_each_way_to_be_no_audio_has_a_code(sentence, tmp_path):
    import av

    files = {
        "list.m3u8": b"#EXTM3U\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "concat.txt": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "noise.mp3": np.random.default_rng(1).bytes(5000),
        "page.html": b"<!doctype html>",
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        assert refused(tmp_path / name) == "media_undecodable", name
    (tmp_path / "empty.mp3").touch()
    assert refused(tmp_path / "empty.mp3") == "media_empty"
    assert refused(write(tmp_path / "header.wav", silence(0))) == "media_empty"
    film = tmp_path / "film.mp4"
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert refused(film) == "media_no_audio"
    assert refused(sentence, limit_s=1.0) == "media_too_long"
    assert refused(sentence, timeout_s=0.001) == "media_decode_timeout"


def test_the_client_is_told_in_its_words(load, tmp_path):
    (tmp_path / "x.mp3").write_bytes(b"nothing")
    with pytest.raises(MediaUndecodable, match="damaged, or of no known format") as caught:
        prepare(load(WHISPER), TranscribeRequest(tmp_path / "x.mp3"))
    assert (caught.value.code, caught.value.param) == ("media_undecodable", "audioUrl")
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(("suffix", "codec"), [("mp3", "mp3"), ("m4a", "aac"), ("flac", "flac")])
def test_what_is_damaged_is_silence_as_long(sentence, tmp_path, suffix, codec):
    path = convert(sentence, tmp_path / f"speech.{suffix}", codec)
    whole = decode(path)
    content = bytearray(path.read_bytes())
    third = len(content) // 3
    content[third : third + 300] = np.random.default_rng(3).bytes(300)
    path.write_bytes(content)
    broken = decode(path)
    assert abs(broken.duration_s - whole.duration_s) < 0.3
    # What comes after is where it was.
    tail = slice(-2 * RATE_HZ, -RATE_HZ)
    ours, theirs = (floats(one)[tail] for one in (broken, whole))
    shift = int(np.correlate(theirs, ours, "full").argmax()) - len(ours) + 1
    assert abs(shift) < 0.15 * RATE_HZ


def test_a_file_that_is_cut_off_gives_what_it_has(sentence, tmp_path):
    path = convert(sentence, tmp_path / "speech.flac", "flac")
    whole = decode(path).duration_s
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    half = decode(path)
    assert 0 < half.duration_s < 0.75 * whole
    assert half.declared_s == pytest.approx(whole, abs=0.1)


def test_a_file_may_change_its_rate(tmp_path, spoken):
    """Two mp3 files, one after the other: the frames of a second have another rate."""
    slow = write(tmp_path / "slow.wav", spoken)
    parts = [
        convert(slow, tmp_path / f"{rate}.mp3", "mp3", rate).read_bytes() for rate in (44100, 22050)
    ]
    both = tmp_path / "both.mp3"
    both.write_bytes(b"".join(parts))
    assert decode(both).duration_s == pytest.approx(2 * len(spoken) / RATE_HZ, rel=0.05)


def test_a_cancelled_decoding_ends_its_process(tmp_path):
    """A named pipe: the decoder waits for data that never comes."""
    import os

    pipe = tmp_path / "pipe.wav"
    os.mkfifo(pipe)

    async def cancel() -> list[int]:
        import psutil

        before = psutil.Process().children()
        task = asyncio.create_task(decoding.decode(pipe, 60, 3600))
        await asyncio.sleep(1)
        children = [child for child in psutil.Process().children() if child not in before]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children
        return [child.pid for child in children if child.is_running()]

    assert asyncio.run(cancel()) == []


def test_decoding_does_not_suffer_from_a_busy_thread(sentence):
    """The reason for the process: in this one it would be a hundred times slower."""
    start = time.perf_counter()
    decode(sentence)
    alone = time.perf_counter() - start
    stop = threading.Event()
    spinner = threading.Thread(target=lambda: [None for _ in iter(stop.is_set, True)])
    spinner.start()
    try:
        start = time.perf_counter()
        decode(sentence)
        assert time.perf_counter() - start < 10 * alone + 1
    finally:
        stop.set()
        spinner.join()


# Samples, spectrum, speech -----------------------------------------------------------------------------


def test_spans_are_put_end_to_end():
    whole = np.arange(1000, dtype=np.int16)
    samples = Samples(whole, [(100, 200), (500, 510), (900, 1000)])
    assert len(samples) == 210
    want = np.concatenate([whole[100:200], whole[500:510], whole[900:1000]])
    for start, end in ((0, 210), (50, 150), (99, 111), (105, 109), (200, 300), (210, 220)):
        assert np.array_equal(samples.cut(start, end) * 32768, want[start:end])


@pytest.mark.parametrize("length", [1, 500, 112_113, 480_000, 480_080, 1_520_007])
def test_the_spectrum_is_faster_whispers_wherever_it_is_looked_at(length):
    from faster_whisper.feature_extractor import FeatureExtractor

    extractor = FeatureExtractor()
    noise = (np.random.default_rng(length).normal(size=length) * 3000).astype(np.int16)
    want = extractor(noise.astype(np.float32) / 32768)
    mel = Mel(Samples(noise), extractor)
    assert mel.shape == want.shape
    for part in (slice(None), slice(0, 3000), slice(100, 103), slice(2990, 6100)):
        assert np.allclose(mel[:, part], want[:, part], atol=1e-6)  # BLAS adds in its own order


OPTIONS = [
    {}, {"max_speech_duration_s": 5}, {"max_speech_duration_s": 8, "min_silence_duration_ms": 160},
    {"threshold": 0.8, "speech_pad_ms": 30, "min_speech_duration_ms": 1000},
    {"min_silence_duration_ms": 100, "neg_threshold": 0.1},
]  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS)
def test_speech_is_where_faster_whisper_finds_it(spoken, options):
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    parts = [silence(3), spoken, silence(1.3), spoken, silence(75), spoken[: 3 * RATE_HZ], spoken]
    whole = np.concatenate(parts)
    want = get_speech_timestamps(whole.astype(np.float32) / 32768, VadOptions(**options))
    got = voice_activity.spans(Samples(whole), voice_activity.VadOptions(**options))
    assert got == [(one["start"], one["end"]) for one in want]


def test_its_rules_are_the_same_whatever_is_said(monkeypatch):
    from faster_whisper import vad

    chance = np.random.default_rng(1)
    for number in range(200):
        count = int(chance.integers(1, 400))
        length = int(count * 512 - chance.integers(1, 512))
        said = np.repeat(chance.random(count // 4 + 1) ** chance.choice([0.3, 1, 3]), 4)[:count]
        monkeypatch.setattr(vad, "get_vad_model", lambda said=said: lambda _: said)
        options = {
            "threshold": float(chance.choice([0.3, 0.5, 0.7])),
            "min_silence_duration_ms": int(chance.choice([0, 50, 300, 2000])),
            "speech_pad_ms": int(chance.choice([0, 30, 400])),
            "max_speech_duration_s": float(chance.choice([float("inf"), 1.5, 3])),
            "min_speech_duration_ms": int(chance.choice([0, 250])),
        }
        want = vad.get_speech_timestamps(np.zeros(length, np.float32), vad.VadOptions(**options))
        ours = voice_activity.VadOptions(**options)
        found = list(voice_activity._spoken(said, length, ours))
        got = voice_activity._padded(found, length, ours.speech_pad_ms * 16)
        assert got == [(one["start"], one["end"]) for one in want], number


def test_windows_are_cut_where_nobody_speaks():
    def cut(*spans: tuple[int, int]) -> list[Window]:
        recording = Recording(TranscribeRequest(Path()), whole, None, [], None)
        return windows(recording, [(start * RATE_HZ, end * RATE_HZ) for start, end in spans])

    whole = decoding.Audio(np.broadcast_to(np.int16(0), 100 * RATE_HZ))
    made = cut((1, 8), (9, 20), (21, 33), (36, 50), (60, 62), (63, 90))
    assert [[(a / RATE_HZ, b / RATE_HZ) for a, b in one.spans] for one in made] == [
        [(1, 8), (9, 20)], [(21, 33), (36, 50)], [(60, 62), (63, 90)],
    ]  # fmt: skip
    assert [one.seconds for one in made] == [20, 30, 50]  # to the end of the recording
    even = cut((0, 10), (11, 20), (22, 31), (32, 41))
    assert [len(one.spans) for one in even] == [2, 2]  # not three and one
    assert cut() == []


def test_all_of_a_recording_is_heard_where_that_is_asked_for(load, tmp_path, spoken):
    second = RATE_HZ
    spans = [(5 * second, 10 * second), (20 * second, 60 * second)]
    made = covering(spans, 100 * second)
    assert [(a / second, b / second) for a, b in made] == [
        (0, 15), (15, 45), (45, 75), (75, 100)
    ]  # fmt: skip
    assert covering([], 40 * second) == [(0, 30 * second), (30 * second, 40 * second)]
    noise = np.random.default_rng(5).normal(0, 300, 20 * second)
    path = write(tmp_path / "noise.wav", noise)
    asked = TranscribeRequest(path, mode="batched", vad=False, **QUICK)
    [window] = asyncio.run(load(WHISPER).prepare(asked)).parts
    assert window.spans == ((0, 20 * second),)


def test_silence_around_words_is_looked_for_without_asking_for_their_times(load, tmp_path, spoken):
    path = write(tmp_path / "a.wav", spoken)
    asked = TranscribeRequest(path, mode="sequential", hallucination_silence_s=1.0, **QUICK)
    assert prepare(load(WHISPER), asked).recording.options.word_timestamps
    batched = replace(asked, mode="batched")
    [*parts] = asyncio.run(load(WHISPER).prepare(batched)).parts
    assert not parts[0].recording.options.word_timestamps


def test_times_are_those_of_the_recording():
    """As faster-whisper restores them."""
    from faster_whisper.vad import SpeechTimestampsMap

    spans = [(8000, 24_000), (40_000, 48_000), (80_000, 160_000)]
    ours = Samples(np.zeros(200_000, np.int16), spans)
    theirs = SpeechTimestampsMap([{"start": a, "end": b} for a, b in spans], RATE_HZ)
    for moment in (0.0, 0.5, 1.0, 1.2, 1.5, 3.0, 6.5, 9.0):
        for ends in (False, True):
            restored = theirs.get_original_time(moment, is_end=ends)
            assert moment + ours.offset(moment, ends=ends) == pytest.approx(restored, abs=0.006)


# Transcripts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, {}),
        ({"language": "de", "prompt": "bolego"}, {"language": "de", "initial_prompt": "bolego"}),
        ({"task": "translate", "words": True}, {"task": "translate", "word_timestamps": True}),
        ({"hotwords": "fox", "words": True}, {"hotwords": "fox", "word_timestamps": True}),
        ({"condition": False, "beams": 2}, {"condition_on_previous_text": False, "beam_size": 2}),
    ],
)
def test_transcripts_are_faster_whispers(load, tmp_path, spoken, options, arguments):
    """Where silences are left in; where they are cut out: ``test_silences``."""
    from faster_whisper.audio import decode_audio

    engine = load(WHISPER)
    path = write(tmp_path / "a.wav", np.concatenate([silence(1), spoken, silence(27), spoken]))
    if options:  # the first of them falls back as it does by itself
        options, arguments = {**options, "temperatures": (0.0,)}, {**arguments, "temperature": 0.0}
    ours = run(engine, TranscribeRequest(path, vad=False, **options))
    segments, info = engine._model.transcribe(decode_audio(str(path)), **arguments)
    expected = list(segments)
    for one in expected:  # a last segment may end after the file
        one.end = min(one.end, info.duration)
    same(ours.segments, expected)
    assert (ours.language, ours.duration_s) == (info.language, info.duration)
    assert ours.segments


@real
@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_the_real_model_writes_down_what_is_said(load, tmp_path, spoken, mode):
    path = write(tmp_path / "a.wav", np.concatenate([spoken, silence(8), spoken]))
    asked = TranscribeRequest(path, mode=mode, words=True, beams=2)
    heard = run(load(row("Whisper_Base")), asked)
    text = "".join(one["text"] for one in heard.segments)
    assert " ".join(text.split()) == f"{SENTENCE} {SENTENCE}"
    assert (heard.language, heard.task) == ("en", "transcribe")
    assert heard.language_probability > 0.9
    times = [time for one in heard.segments for time in (one["start"], one["end"])]
    assert times == sorted(times)
    assert 0 <= times[0] < times[-1] <= heard.duration_s
    words = [word for one in heard.segments for word in one["words"]]
    assert [re.sub(r"\W", "", word["word"]) for word in words][:3] == ["And", "Mr", "John"]
    second = next(word for word in words[10:] if word["word"].strip() == "And")
    assert second["start"] == pytest.approx(words[0]["start"] + len(spoken) / RATE_HZ + 8, abs=0.6)


@real
def test_windows_of_several_files_share_a_run(load, tmp_path, spoken):
    """Each text is the one of its own file, whatever runs beside it."""
    engine = load(row("Whisper_Base"))
    files = [
        write(tmp_path / "0.wav", spoken),
        write(tmp_path / "1.wav", spoken[: 4 * RATE_HZ]),
    ]
    requests = [TranscribeRequest(path, mode="batched", **QUICK) for path in files]
    alone = [run(engine, one) for one in requests]
    works = [asyncio.run(engine.prepare(one)) for one in requests]
    assert len({work.kind for work in works}) == 1
    tickets = [[Ticket(part) for part in work.parts] for work in works]
    found = iter(through(engine, [ticket for some in tickets for ticket in some]))
    together = [
        work.finish([next(found) for _ in some]) for work, some in zip(works, tickets, strict=True)
    ]
    texts = [
        ["".join(s["text"] for s in one.segments) for one in some] for some in (alone, together)
    ]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 2
    assert SENTENCE in texts[0][0]


def test_silence_is_an_empty_transcript(load, tmp_path):
    path = write(tmp_path / "silence.wav", silence(40))
    for mode in ("sequential", "batched"):
        work = asyncio.run(load(WHISPER).prepare(TranscribeRequest(path, mode=mode)))
        assert len(work.parts) == 0
        heard = work.finish([])
        assert (heard.segments, heard.duration_s) == ([], 40.0)
    asked = TranscribeRequest(path, vad=False, **QUICK)
    assert run(load(WHISPER), asked).segments  # as it is asked to


def test_a_stream_hears_each_segment_and_how_far_it_is(load, tmp_path, spoken):
    path = write(tmp_path / "a.wav", np.concatenate([spoken, silence(6), spoken]))
    for mode in ("sequential", "batched"):
        request = TranscribeRequest(path, mode=mode, stream=True, **QUICK)
        work = asyncio.run(load(WHISPER).prepare(request))
        tickets = [Ticket(part) for part in work.parts]
        heard: Transcript = work.finish(through(load(WHISPER), tickets))
        events = [event for ticket in tickets for event in ticket.events]
        told = [one for event in events if isinstance(event, Heard) for one in event.segments]
        assert [one["text"] for one in told] == [one["text"] for one in heard.segments]
        done = [event for event in events if isinstance(event, Progress)]
        assert done
        assert all(event.total == pytest.approx(heard.duration_s, abs=0.01) for event in done)


@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_a_cancelled_one_stops_within_a_window(load, tmp_path, spoken, mode):
    whole = np.concatenate([part for _ in range(4) for part in (spoken, silence(25))])
    path = write(tmp_path / "a.wav", whole)
    engine = load(WHISPER)
    request = TranscribeRequest(path, mode=mode, **QUICK)
    work = asyncio.run(engine.prepare(request))
    all_of_it = run(engine, request)
    tickets = [Ticket(part, cancel_at=0) for part in work.parts]
    assert [one for part in engine.run(tickets) for one in part] == []
    if mode == "sequential":
        tickets = [Ticket(part, cancel_at=1) for part in work.parts]
        [some] = through(engine, tickets)
        assert 1 <= len(some) < len(all_of_it.segments)


def test_a_long_recording_lets_others_on_the_device(load, tmp_path, spoken, monkeypatch):
    """In sequential mode, too, and comes to the same; one that fails amid it begins anew."""
    monkeypatch.setattr(sequential.Sequential, "slice_s", 0.0)
    engine = load(WHISPER)
    path = write(tmp_path / "a.wav", np.concatenate([spoken, silence(30)] * 3))
    request = TranscribeRequest(path, mode="sequential", vad=False, **QUICK)
    work = asyncio.run(engine.prepare(request))
    assert work.total == math.ceil((3 * len(spoken) / RATE_HZ + 90) / 30)
    [ticket] = [Ticket(part) for part in work.parts]
    slices = 0
    while isinstance((outputs := engine.run([ticket]))[0], Unfinished):
        slices += 1
    whole = work.finish(outputs)
    assert slices == len(whole.segments) >= 3
    [again] = [Ticket(part) for part in asyncio.run(engine.prepare(request)).parts]
    assert isinstance(engine.run([again])[0], Unfinished)
    with monkeypatch.context() as broken:
        broken.setattr(engine._model, "encode", failing)
        with pytest.raises(RuntimeError, match="out of memory"):
            through(engine, [again])
    assert work.finish(through(engine, [again])).segments == whole.segments


@pytest.mark.parametrize("mode", ["sequential", "batched"])
def test_a_recording_that_is_cancelled_between_two_runs_is_gone_at_once(
    load, tmp_path, spoken, monkeypatch, mode
):
    """Its file is as long as it is, and stays open until then."""
    monkeypatch.setattr(sequential.Sequential, "slice_s", 0.0)
    monkeypatch.setattr(batched, "_end", lambda ticket, work: keep(ticket.item, work))
    engine = load(WHISPER)
    path = write(tmp_path / "a.wav", np.concatenate([spoken, silence(30)] * 3))
    request = TranscribeRequest(path, mode=mode, **QUICK)
    tickets = [Ticket(part) for part in asyncio.run(engine.prepare(request)).parts]
    sound = weakref.ref(tickets[0].item.recording.audio.samples)
    gc.disable()
    try:
        assert isinstance(engine.run(tickets)[0], Unfinished)
        assert sound() is not None
        tickets.clear()
        assert sound() is None
    finally:
        gc.enable()


def keep(item: Window, work: Any) -> Unfinished:
    """As of a window whose first stretch ends before the window does."""
    item.going = work
    return Unfinished()


def failing(*_: Any) -> None:
    raise RuntimeError("out of memory")


@real
@pytest.mark.parametrize(("mode", "vad"), [("sequential", True), ("batched", None)])
def test_each_token_has_a_probability(load, tmp_path, spoken, mode, vad):
    """Those of which faster-whisper makes its words' probabilities."""
    engine = load(row("Whisper_Base"))
    path = write(tmp_path / "a.wav", np.concatenate([spoken, silence(30), spoken]))
    asked = TranscribeRequest(path, mode=mode, words=True, vad=vad, logprobs=True, **QUICK)
    heard = run(engine, asked)
    for segment in heard.segments:
        logs = segment["logprobs"]
        assert b"".join(bytes(one["bytes"]) for one in logs).decode() == segment["text"]
        assert all(one["logprob"] <= 0 for one in logs)
        assert "".join(one["token"] for one in logs) == segment["text"]
        likely = [math.exp(one["logprob"]) for one in logs]
        assert np.mean(likely) > 0.8
        words = segment["words"]
        assert likely[0] == pytest.approx(words[0]["probability"], abs=0.02)  # " And", one token
    without = run(engine, replace(asked, logprobs=False))
    plain = [{**one, "logprobs": None} for one in heard.segments]
    assert plain == [{**one, "logprobs": None} for one in without.segments]


def test_tokens_are_spelled_in_bytes(load):
    """Also those that hold a part of a character alone."""
    tokenizer = load(WHISPER)._options.tokenizer("en", "transcribe")
    ids = tokenizer.encode(" né 😀")
    spelled = b"".join(bytes(logprobs._entry(tokenizer, one, 0.5)["bytes"]) for one in ids)
    assert spelled.decode() == " né 😀"
    assert logprobs._entry(tokenizer, ids[0], 0.0)["logprob"] == pytest.approx(-23.025851)


def test_what_is_asked_of_whisper_must_fit(load, sentence, tmp_path):
    engine = load(WHISPER)
    with pytest.raises(InvalidValue, match="one of .*en.*got 'xx'") as caught:
        prepare(engine, TranscribeRequest(sentence, language="xx"))
    assert caught.value.param == "language"
    with pytest.raises(InvalidValue, match="got 'xx'") as caught:
        prepare(engine, TranscribeRequest(sentence, languages=("en", "xx")))
    assert caught.value.param == "languages[1]"
    with pytest.raises(ContextLengthExceeded, match="at most 100") as caught:
        prepare(engine, TranscribeRequest(sentence, hotwords="word " * 300))
    assert caught.value.param == "hotwords"
    long = TranscribeRequest(sentence, prompt="word " * 300, hotwords="fox", **QUICK)
    assert [one.param for one in run(engine, long).left_out] == ["prompt"]
    with pytest.raises(UnsupportedParameter, match="the last 223"):
        prepare(engine, replace(long, strict=True))
    turbo = load(replace(WHISPER, slug="turbo", tasks=frozenset({"transcribe"})))
    with pytest.raises(UnsupportedParameter, match="does not translate"):
        prepare(turbo, TranscribeRequest(sentence, task="translate"))


def test_a_language_is_chosen_among_those_expected(load, sentence):
    engine = load(WHISPER)
    for codes in (("fr",), ("sw", "fr")):
        heard = run(engine, TranscribeRequest(sentence, languages=codes, **QUICK))
        assert heard.language in codes
    free = run(engine, TranscribeRequest(sentence, **QUICK)).language
    both = TranscribeRequest(sentence, languages=("fr", free), **QUICK)
    assert run(engine, both).language == free


@real
def test_cantonese_needs_a_vocabulary_that_has_it(load, sentence):
    """Whisper before its third version has no token for it, and would take any language."""
    with pytest.raises(InvalidValue, match="got 'yue'"):
        prepare(load(row("Whisper_Base")), TranscribeRequest(sentence, language="yue"))
    asked = TranscribeRequest(sentence, language="yue", **QUICK)
    assert run(load(WHISPER), asked).language == "yue"


@real
def test_in_int8_it_is_as_good(load, sentence):
    """What a processor computes in by default."""
    engine = load(row("Whisper_Base"))
    assert engine._model.model.compute_type.startswith("int8")
    heard = run(engine, TranscribeRequest(sentence))
    assert "".join(one["text"] for one in heard.segments).strip() == SENTENCE
    assert io.BytesIO(sentence.read_bytes()).read(4) == b"OggS"

"""Who speaks when: sherpa-onnx's own classes on tiny models made by hand."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.sounds import silence
from models.errors import EngineFailed, InvalidValue, MediaUndecodable
from models.transcribe.audio.decoding import RATE_HZ
from models.transcribe.diarization import process
from models.transcribe.diarization.engine import SherpaSpeakers, _finish
from models.transcribe.request import SpeakersRequest, TranscribeRequest, Turn
from models.weights.store import WeightsStore
from tests.conftest import CPU, row
from tests.support.children import children
from tests.support.driving import run
from tests.support.sounds import write

SPEAKERS = row("Tiny_Speakers")


@pytest.fixture(scope="module")
def engine(store: WeightsStore) -> SherpaSpeakers:
    return SherpaSpeakers.load(store.resolve(SPEAKERS), SPEAKERS, CPU)


def voice(low_hz: float, high_hz: float, seconds: float, seed: int = 1) -> np.ndarray:
    """Noise of a band, as loud as speech."""
    count = int(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE_HZ)
    spectrum[(frequencies < low_hz) | (frequencies > high_hz)] = 0
    samples = np.fft.irfft(spectrum, count)
    return (samples / np.abs(samples).max() * 15_000).astype(np.int16)


def deep(seconds: float) -> np.ndarray:
    return voice(100, 700, seconds)


def bright(seconds: float) -> np.ndarray:
    return voice(3000, 7000, seconds)


@pytest.fixture
def talk(tmp_path: Path) -> Path:
    """A deep voice for 4 s, a bright one for 5, a pause, the deep one for 3."""
    return write(tmp_path / "talk.wav", np.concatenate([deep(4), bright(5), silence(2), deep(3)]))


def turns(engine: SherpaSpeakers, path: Path, **asked: Any) -> list[tuple[float, float, str]]:
    work = asyncio.run(engine.prepare(SpeakersRequest(path, **asked)))
    assert work.parts == ()
    return [(one.start, one.end, one.speaker) for one in work.finish([])]


def near(found: Sequence[tuple[float, float, str]], expected: Sequence[tuple[Any, ...]]) -> None:
    assert [one[2] for one in found] == [one[2] for one in expected]
    for (start, end, _), (from_s, to_s, _) in zip(found, expected, strict=True):
        assert (start, end) == (pytest.approx(from_s, abs=0.3), pytest.approx(to_s, abs=0.3))


def test_two_voices_are_told_apart(engine, talk):
    near(turns(engine, talk), [(0, 4, "A"), (4, 9, "B"), (11, 14, "A")])


def test_how_many_there_are_can_be_said(engine, talk):
    assert {one[2] for one in turns(engine, talk, speakers=1)} == {"A"}
    assert {one[2] for one in turns(engine, talk, speakers=2)} == {"A", "B"}


def test_known_voices_have_their_names(engine, talk, tmp_path):
    ada, bob = (
        write(tmp_path / "ada.wav", voice(3000, 7000, 3, seed=2)),
        write(tmp_path / "bob.wav", voice(100, 700, 3, seed=3)),
    )
    both = turns(engine, talk, names=("Ada", "Bob"), voices=(ada, bob))
    near(both, [(0, 4, "Bob"), (4, 9, "Ada"), (11, 14, "Bob")])
    one = turns(engine, talk, names=("Ada",), voices=(ada,))
    near(one, [(0, 4, "A"), (4, 9, "Ada"), (11, 14, "A")])


def test_silence_has_no_speakers(engine, tmp_path):
    assert turns(engine, write(tmp_path / "silence.wav", silence(12))) == []
    assert turns(engine, write(tmp_path / "short.wav", silence(0.05))) == []


def test_letters_pass_over_names():
    found = {"turns": [(n, n + 1, n) for n in range(28)], "likeness": {"0": [0.9], "5": [0.49]}}
    told = [one.speaker for one in _finish(found, ["B"], [])]
    assert told[:6] == ["B", "A", "C", "D", "E", "F"]
    assert told[-3:] == ["Z", "AA", "AB"]
    assert _finish({"turns": [(0, 1, 3)], "likeness": {}}, [], []) == (Turn(0, 1, "A"),)


@pytest.mark.parametrize("seconds", [1.5, 10.5, 60])
def test_a_known_voice_must_be_of_some_length(engine, talk, tmp_path, seconds):
    clip = write(tmp_path / "clip.wav", bright(seconds))
    with pytest.raises(InvalidValue, match="between 2 and 10 s") as caught:
        turns(engine, talk, names=("Ada",), voices=(clip,))
    assert caught.value.param == "known_speaker_references[0]"


def test_files_that_cannot_be_used_are_named(engine, talk, tmp_path, monkeypatch):
    noise = tmp_path / "noise.bin"
    noise.write_bytes(b"no audio at all")
    with pytest.raises(MediaUndecodable) as caught:
        turns(engine, talk, names=("Ada",), voices=(noise,))
    assert caught.value.param == "known_speaker_references[0]"
    monkeypatch.setattr(SherpaSpeakers, "limit_s", 10.0)
    with pytest.raises(MediaUndecodable, match="cannot be told apart") as caught:
        turns(engine, talk)
    assert (caught.value.param, caught.value.code) == ("audioUrl", "media_too_long")


def test_models_that_do_not_fit_are_the_workers_fault(store, talk, tmp_path, caplog):
    """Sherpa-onnx ends its process over one; that process alone."""
    source = store.resolve(SPEAKERS)
    broken = tmp_path / "broken"
    shutil.copytree(source, broken)
    (broken / "model.onnx").write_bytes((source / "embedding.onnx").read_bytes())
    with pytest.raises(EngineFailed, match="Telling the speakers apart failed"):
        turns(SherpaSpeakers.load(broken, SPEAKERS, CPU), talk)
    assert "telling speakers apart:" in caplog.text
    (broken / "embedding.onnx").unlink()
    with pytest.raises(FileNotFoundError, match="Tiny_Speakers lacks"):
        SherpaSpeakers.load(broken, SPEAKERS, CPU)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="looks into /proc")
def test_who_does_not_wait_leaves_no_process(engine, tmp_path):
    path = write(tmp_path / "long.wav", np.tile(np.concatenate([deep(4), bright(4)]), 100))
    before = set(children())

    async def ask() -> None:
        asked = asyncio.create_task(engine.prepare(SpeakersRequest(path)))
        while not (new := set(children()) - before) or not any(map(runs_sherpa, new)):
            await asyncio.sleep(0.01)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked

    asyncio.run(asyncio.wait_for(ask(), 60))
    assert set(children()) == before


def runs_sherpa(pid: str) -> bool:
    try:
        return "models.transcribe.diarization.process" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def test_a_process_that_takes_no_samples_is_heard():
    """It ends at its task, which lacks the models, before it has read a sample."""
    with pytest.raises(process.DiarizerFailed, match="KeyError"):
        asyncio.run(process.diarize({}, [np.zeros(30_000_000, np.int16)]))


def test_a_transcript_is_cut_where_another_speaks(engine, load: Callable[[Any], Any], tmp_path):
    """Words of the tiny Whisper and turns of the tiny speakers, put together as the worker does."""
    from handler.contract.transcribe.speakers import told_apart

    path = write(tmp_path / "talk.wav", np.concatenate([deep(5), bright(5)]))
    whisper = load(replace(row("Tiny_Whisper"), options={"compute_type": "float32"}))
    asked = TranscribeRequest(path, words=True, vad=False, temperatures=(0.0,), beams=1)
    transcript = run(whisper, asked)
    found = [Turn(*one) for one in turns(engine, path)]
    said = list(told_apart(transcript.segments, found))
    assert {one["speaker"] for one in said} <= {"A", "B"}
    whole = "".join(one["text"] for one in transcript.segments)
    assert "".join(one["text"] for one in said) == whole

"""Transcription on a GPU."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from difflib import SequenceMatcher
from typing import Any

import pytest

from models.device.hardware import Device
from models.row import Row
from models.transcribe.request import TranscribeRequest, Transcript
from models.transcribe.whisper.selftest import CLIP
from models.warm.loader import Loader
from tests.conftest import row
from tests.support.driving import run

pytestmark = pytest.mark.gpu

WHISPER = replace(row("Tiny_Whisper"), options={"compute_type": "float32"})
ASKED = TranscribeRequest(
    CLIP, language="en", temperatures=(0.0,), beams=1, mode="batched", logprobs=True
)


@pytest.fixture(scope="module")
def device(gpu: Device) -> Device:
    """The GPU, where ctranslate2 has one."""
    ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed")
    pytest.importorskip("faster_whisper", reason="faster-whisper is not installed")
    # Sound is decoded in a process of its own, which sees what is installed and no PYTHONPATH.
    if subprocess.run([sys.executable, "-I", "-c", "import av, numpy"], check=False).returncode:
        pytest.skip("PyAV is not installed")
    if gpu.kind == "cuda" and not ctranslate2.get_cuda_device_count():
        pytest.skip("ctranslate2 finds no CUDA device")
    return gpu


def written(store: Any, model: Row, device: Device, **changes: Any) -> Transcript:
    engine = Loader(store, device)(model)
    answer: Transcript = run(engine, replace(ASKED, **changes))
    engine.close()
    return answer


def text(answer: Transcript) -> str:
    return "".join(segment["text"] for segment in answer.segments)


def logprobs(answer: Transcript) -> list[float]:
    return [one["logprob"] for segment in answer.segments for one in segment["logprobs"]]


@pytest.mark.parametrize("beams", [1, 5])
def test_texts_in_float32_are_those_of_the_cpu(
    store: Any, device: Device, here: Device, beams: int
) -> None:
    ours = written(store, WHISPER, device, beams=beams)
    theirs = written(store, WHISPER, here, beams=beams)
    assert text(ours) == text(theirs)
    assert text(ours).strip()
    assert [(one["start"], one["end"]) for one in ours.segments] == [
        (one["start"], one["end"]) for one in theirs.segments
    ]
    assert logprobs(ours) == pytest.approx(logprobs(theirs), abs=2e-3)


def test_half_precision_hears_the_same(store: Any, device: Device, here: Device) -> None:
    """A CPU that plays the GPU computes in int8: of float16 it would make float32.

    In int8 the tiny model keeps its text, and not its probabilities.
    """
    half = replace(WHISPER, options={})
    ours, theirs = written(store, half, device), written(store, WHISPER, here)
    assert SequenceMatcher(None, text(ours), text(theirs)).ratio() > 0.8
    if device.kind != "cuda":
        return
    mine, expected = logprobs(ours), logprobs(theirs)
    assert sum(mine) / len(mine) == pytest.approx(sum(expected) / len(expected), abs=0.2)


def test_words_and_the_language(store: Any, device: Device, here: Device) -> None:
    """Alignment and detection run on the device, too."""
    asked = {"words": True, "language": None}
    ours, theirs = written(store, WHISPER, device, **asked), written(store, WHISPER, here, **asked)
    assert ours.language == theirs.language
    assert ours.language_probability == pytest.approx(theirs.language_probability, abs=1e-3)
    spoken = [[one["words"] for one in answer.segments] for answer in (ours, theirs)]
    assert [[word["word"] for word in words] for words in spoken[0]] == [
        [word["word"] for word in words] for words in spoken[1]
    ]

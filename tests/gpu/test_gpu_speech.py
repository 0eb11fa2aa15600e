"""Qwen3-TTS on a GPU."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.device.hardware import Device
from models.speech.qwen.engine import QwenSpeaker
from models.speech.request import Output, SpeakRequest, Speech
from tests.conftest import tiny
from tests.gpu.conftest import need
from tests.support.driving import Ticket, prepare, run, through

pytestmark = pytest.mark.gpu

ROW = tiny("Qwen3_TTS_12Hz_1_7B_CustomVoice", "qwen-tts")
ASKED = SpeakRequest("Hello there.", voice="ryan", seed=2, max_tokens=40, output=Output("pcm"))
CROWD = [
    replace(ASKED, text=text, voice=voice, seed=seed)
    for seed, (text, voice) in enumerate(
        [("One.", "ryan"), ("A longer line of words.", "sohee"), ("你好。", "dylan")]
    )
]


@pytest.fixture(scope="module", autouse=True)
def _libraries(gpu: Device) -> None:
    need("speech")


@pytest.fixture(scope="module")
def folder(store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that chooses the likeliest codes: a GPU's chance is another than a CPU's."""
    copy = tmp_path_factory.mktemp("greedy") / "model"
    shutil.copytree(store.resolve(ROW), copy)
    (copy / "generation_config.json").write_text(
        '{"do_sample": false, "subtalker_dosample": false}'
    )
    return copy


def samples(speech: Speech) -> Any:
    return np.frombuffer(speech.content, "<i2").astype(int)


def test_the_sound_in_float32_is_that_of_the_cpu(
    folder: Path, exact: Device, here: Device, ieee: None
) -> None:
    there, ours = (run(QwenSpeaker.load(folder, ROW, one), ASKED) for one in (exact, here))
    assert there.sound_tokens == ours.sound_tokens
    assert np.abs(samples(there) - samples(ours)).max() <= 4


def test_several_lines_are_what_each_is_alone(folder: Path, exact: Device, ieee: None) -> None:
    engine = QwenSpeaker.load(folder, ROW, exact)
    together = through(engine, [Ticket(prepare(engine, one)) for one in CROWD])
    for one, made in zip(CROWD, together, strict=True):
        alone = run(engine, one)
        assert alone.sound_tokens == made.sound_tokens
        assert np.abs(samples(alone) - samples(made)).max() <= 4


def test_it_speaks_in_the_gpus_own_precision(store: Any, gpu: Device) -> None:
    """A seed repeats a sound there, too."""
    engine = QwenSpeaker.load(store.resolve(ROW), ROW, gpu)
    first, again, other = (run(engine, replace(ASKED, seed=seed)) for seed in (2, 2, 3))
    assert first.content == again.content != other.content
    assert all(isinstance(one, Speech) for one in through(
        engine, [Ticket(prepare(engine, one)) for one in CROWD]
    ))  # fmt: skip

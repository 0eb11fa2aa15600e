"""Before its first job on a GPU, Whisper writes a known clip down; here its library is played."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from handler.settings.engines import fitted
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.device.hardware import Device, driver_version
from models.errors import DriverTooOld
from models.transcribe.whisper import selftest
from models.transcribe.whisper.engine import FasterWhisper
from tests.conftest import ROOT, needs, row

GPU = Device("cuda", memory_bytes=80 * 10**9, bf16=True)
INSUFFICIENT = "CUDA failed with error CUDA driver version is insufficient for CUDA runtime version"
PTX = "the provided PTX was compiled with an unsupported toolchain."


class Played:
    """As much of WhisperModel as is asked at the start."""

    supported_languages = ("en",)
    model = SimpleNamespace(is_multilingual=False, compute_type="float16")

    def __init__(self, says: str | Exception) -> None:
        self.says = says

    def transcribe(self, path: str, **_: Any) -> tuple[list[Any], None]:
        assert Path(path).stat().st_size > 10_000
        if isinstance(self.says, Exception):
            raise self.says
        return [SimpleNamespace(text=self.says)], None


def loaded(monkeypatch: pytest.MonkeyPatch, make: Callable[..., Any]) -> Any:
    monkeypatch.setattr("faster_whisper.WhisperModel", make)
    return FasterWhisper.load(Path("/weights"), row("WhisperLargeV3"), GPU)


@pytest.mark.parametrize("says", [RuntimeError(INSUFFICIENT), RuntimeError(PTX), "", " "])
def test_a_driver_that_is_too_old_is_said_in_one_line(monkeypatch, says):
    """Also one with which nothing fails and nothing is heard."""
    with pytest.raises(DriverTooOld) as caught:
        loaded(monkeypatch, lambda *_, **__: Played(says))
    message = caught.value.message
    assert "\n" not in message
    assert f"driver {driver_version()}" in message
    assert "driver 570" in message
    assert "hosts with CUDA 12.8" in message


def test_so_is_one_with_which_no_model_can_be_made(monkeypatch):
    def make(*_: Any, **__: Any) -> Any:
        raise RuntimeError(INSUFFICIENT)

    with pytest.raises(DriverTooOld, match="insufficient"):
        loaded(monkeypatch, make)


def test_what_else_goes_wrong_is_not_the_drivers_fault(monkeypatch):
    with pytest.raises(RuntimeError, match="out of memory"):
        loaded(monkeypatch, lambda *_, **__: Played(RuntimeError("CUDA failed: out of memory")))
    assert loaded(monkeypatch, lambda *_, **__: Played(" And Mr. John")).budget == 16


@needs("Whisper_Base")
def test_the_clip_is_the_examples_sentence(load):
    sound = json.loads((ROOT / "examples/transcribe.json").read_text())["input"]["audioUrl"]
    assert selftest.CLIP.read_bytes() == base64.b64decode(sound.partition(",")[2])
    whisper = load(row("Whisper_Base"))._model
    assert selftest.checked(lambda: whisper, row("Whisper_Base")) is whisper


def test_what_the_driver_compiles_is_kept(monkeypatch, tmp_path):
    monkeypatch.delenv("CUDA_CACHE_PATH", raising=False)
    settings = Settings.from_env({"QUARTET_CACHE": str(tmp_path)})
    whisper = fitted(CATALOG, settings, "cuda", 10**11).find("WhisperLargeV3")
    assert "kernels" not in fitted(CATALOG, settings, "cpu", 10**11).find("Whisper_Base").options
    monkeypatch.setattr("faster_whisper.WhisperModel", lambda *_, **__: Played(" And"))
    FasterWhisper.load(tmp_path, whisper, GPU)
    assert os.environ["CUDA_CACHE_PATH"] == str(tmp_path / "kernels")
    monkeypatch.setenv("CUDA_CACHE_PATH", "/theirs")
    FasterWhisper.load(tmp_path, whisper, GPU)
    assert os.environ["CUDA_CACHE_PATH"] == "/theirs"


PROGRAM = """
import sys
from handler.__main__ import main
from models.errors import DriverTooOld
from models.fake import FakeTranscribe

def load(folder, row, device):
    raise {}

FakeTranscribe.load = load
sys.argv = ["handler"]
sys.exit(main())
"""
ENDS = {
    'DriverTooOld("this driver is too old")': "this driver is too old",
    'RuntimeError("CUDA error: uncorrectable ECC error encountered")': "The GPU failed while ",
    'RuntimeError("No CUDA GPUs are available")': "The GPU failed while ",
}


@pytest.mark.parametrize("error", ENDS)
def test_a_worker_that_can_do_nothing_takes_no_job(error):
    env = {
        **os.environ, "FAKE_ENGINES": "1", "SURFACE": "transcribe", "DEVICE": "cpu",
        "RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/job",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(error)], cwd=ROOT, env=env, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(f"quartet: {ENDS[error]}")
    assert "ready after" not in done.stderr

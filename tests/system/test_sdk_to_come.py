"""The SDK that is to come, in an environment of its own: the same tests of the loop pass on it."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig

import pytest

from tests.conftest import ROOT

COMING = "runpod==2.0.0rc2"
TESTS = (
    "tests/system/test_sdk_loop.py", "tests/local/test_local_workers.py",
    "tests/local/test_local_faults.py",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_loop_on_the_sdk_to_come(tmp_path):
    """Its wheel alone, before everything that is installed here."""
    folder = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin/python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-deps", COMING], check=True)
    [site] = folder.glob("lib/python*/site-packages")
    (site / "rest.pth").write_text(sysconfig.get_path("purelib"))
    said = subprocess.run(
        [python, "-c", "import runpod; print(runpod.__version__)"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.strip() == COMING.partition("==")[2]
    env = {**os.environ, "WORKER_PYTHON": str(python)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *TESTS],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-5000:]

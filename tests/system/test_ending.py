"""SIGTERM at a worker that loads, behind the queue and before the HTTP door."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer

import httpx
import pytest

from tests.conftest import ROOT
from tests.support.running import environment, free_port, wait_until

# A load that lasts for a minute, in the thread that loads; and where it is, for the test.
LOADING = """
import os, sys, time
from pathlib import Path
from handler.__main__ import main
from models.fake import FakeEmbeddings

def load(folder, row, device):
    Path(os.environ["MARK"]).touch()
    time.sleep(60)

FakeEmbeddings.load = load
sys.exit(main())
"""
# As a container's first process, whose signals have no default action: ignored from the start.
FIRST = "import os, signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"


def loading(mark: Path, **env: str) -> subprocess.Popen[str]:
    """A worker in the middle of its load."""
    process = subprocess.Popen(
        [sys.executable, "-c", FIRST, "-c", LOADING], cwd=ROOT,
        env=environment(SURFACE="embeddings", MARK=str(mark), **env),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    wait_until(mark.exists)
    return process


def ended(process: subprocess.Popen[str], within_s: float) -> str:
    """What a worker has logged that ends at SIGTERM as one that was told to."""
    start = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=within_s)
    assert time.monotonic() - start < within_s
    assert process.returncode == 128 + signal.SIGTERM, output
    assert "Traceback" not in output
    return output


def test_behind_the_queue_it_ends_at_once(tmp_path):
    env = {"RUNPOD_WEBHOOK_GET_JOB": "http://127.0.0.1:9/job", "RUNPOD_POD_ID": "pod"}
    with loading(tmp_path / "mark", **env) as process:
        assert "ready after" not in ended(process, 1.0)


def test_over_http_it_ends_at_once(tmp_path):
    port = free_port()
    with loading(tmp_path / "mark", SERVE="1", PORT=str(port)) as process:
        assert httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 204
        ended(process, 1.0)


def test_over_http_a_request_that_waits_for_the_model_is_not_cut_off(tmp_path):
    port = free_port()
    short = LOADING.replace("sleep(60)", "sleep(3); return FakeEmbeddings(row)")
    command = [sys.executable, "-c", short]
    env = environment(SURFACE="embeddings", SERVE="1", PORT=str(port), MARK=str(tmp_path / "mark"))
    with subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.DEVNULL) as process:
        wait_until((tmp_path / "mark").exists)
        with httpx.Client(timeout=20) as client:
            start = time.monotonic()
            Timer(1, process.send_signal, [signal.SIGTERM]).start()
            answer = client.post(f"http://127.0.0.1:{port}/v1/embeddings", json={"input": "a"})
            assert answer.status_code == 200
            assert time.monotonic() - start < 15
        assert process.wait(15) == 128 + signal.SIGTERM


@pytest.mark.parametrize("arguments", [[], ["--check"]])
def test_the_signal_is_handled_before_the_imports(arguments):
    """What takes a start's time is imported with the handler in place."""
    code = (
        "import signal, sys\n"
        "from handler.__main__ import main\n"
        "class Look:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name in ('pydantic', 'handler.command'):\n"
        "            print(name, callable(signal.getsignal(signal.SIGTERM)))\n"
        "sys.meta_path.insert(0, Look())\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, check=False, capture_output=True,
        text=True, env={**os.environ, "FAKE_ENGINES": "1", "DEVICE": "cpu"},
    )  # fmt: skip
    looked = [one for one in done.stdout.splitlines() if one.endswith(("True", "False"))]
    assert looked[:2] == ["handler.command True", "pydantic True"], done.stderr

"""docs/local.md: every example, as it stands, against the platform and the worker's door."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

from local.app import SURFACES, Options
from local.queue.limits import Limits
from local.queue.scale import Scale
from tests.conftest import ROOT
from tests.support.running import environment, run_local, serve_worker

PAGE = (ROOT / "docs/local.md").read_text()
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def addresses() -> Iterator[dict[str, str]]:
    with run_local() as local, serve_worker(FAKE_ENGINES="0") as door:
        yield {"http://127.0.0.1:8000": local.url, "http://127.0.0.1:8080": door}


@pytest.mark.parametrize(("kind", "block"), BLOCKS)
def test_examples_run(addresses, kind, block):
    for written, real in addresses.items():
        block = block.replace(written, real)
    block = block.replace(".venv/bin/python", sys.executable).replace("curl -s", "curl -sSf")
    command = ["sh", "-euc", block] if kind == "sh" else [sys.executable, "-c", block]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"error"' not in done.stdout


def test_there_are_examples_of_each_client():
    text = "".join(block for _, block in BLOCKS)
    for client in ("curl", "openai.OpenAI", "runpod.Endpoint", "websockets"):
        assert client in text


def test_the_numbers_are_the_platforms():
    limits = Limits()
    assert f"{limits.run_bytes // 2**20} MB by `/run`, {limits.runsync_bytes // 2**20} MB" in PAGE
    assert f"{limits.run_retention_s / 60:.0f} minutes after `/run`" in PAGE
    assert f"`executionTimeout` {limits.execution_timeout_s:.0f} s" in PAGE
    assert f"waits {limits.sync_wait_s:.0f} s" in PAGE
    assert f"nor polls for {limits.worker_silence_s:.0f} s" in PAGE
    assert f"not back in {limits.cut_poll_s:.0f} s" in PAGE
    assert f"(active workers); default {Scale.min_workers}:" in PAGE
    assert f"default {Scale.max_workers}, of each endpoint" in PAGE
    assert f"if it is not needed; default {Scale.idle_timeout_s}." in PAGE
    assert Options().webhook_secret in PAGE
    assert "{" + ",".join((*SURFACES, "all")) + "}" in PAGE


def test_the_files_that_the_diagram_names_are_there():
    for path in re.findall(r"\((local/[\w/.]+)\)", PAGE):
        assert (ROOT / path).exists(), path

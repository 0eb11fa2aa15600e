"""The local platform for benchmarks: a server process, and workers on demand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from local.environment import clean, variables

ROOT = Path(__file__).parent.parent
KEY = {"Authorization": "Bearer benchmark"}


@dataclass(frozen=True)
class Platform:
    """A running server: its URL, and the secret that workers need."""

    url: str
    token: str

    def health(self, endpoint: str) -> dict[str, Any]:
        """Return the answer of ``/health``."""
        return requests.get(f"{self.url}/v2/{endpoint}/health", headers=KEY, timeout=60).json()

    def wait_for(self, endpoint: str, ready: int, timeout_s: float = 120) -> float:
        """Wait until ``ready`` workers take jobs; return ``time.perf_counter`` of that moment."""
        end = time.monotonic() + timeout_s
        while self.health(endpoint)["workers"]["ready"] < ready:
            if time.monotonic() > end:
                sys.exit(f"no worker for {endpoint} in {timeout_s:.0f} s")
            time.sleep(0.01)
        return time.perf_counter()

    @contextmanager
    def worker(
        self, endpoint: str, *command: str, name: str = "bench", **env: str
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a worker of one endpoint: ours, or another ``command``."""
        inherited = {k: v for k, v in clean(os.environ).items() if not k.startswith("MODEL_")}
        environment = {
            **inherited,
            "DEVICE": "cpu",
            "RUNPOD_LOG_LEVEL": "WARN",
            **variables(self.url, endpoint, name, self.token),
            **env,
        }
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command or (sys.executable, "-m", "handler"),
                cwd=ROOT, env=environment, stdout=output, stderr=output,
            )  # fmt: skip
            try:
                yield process
            except SystemExit:
                output.seek(0)
                print(output.read().decode()[-2000:], file=sys.stderr)
                raise
            finally:
                process.terminate()
                process.wait(60)


@contextmanager
def platform() -> Iterator[Platform]:
    """Run ``python -m local --no-worker``."""
    command = [sys.executable, "-u", "-m", "local", "--port", "0", "--no-worker"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        said = ""
        while "token=" not in said and process.stdout is not None:
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the platform did not start: {said}")
            said += line
        url = re.search(r"listening on (\S+)", said)
        token = re.search(r"token=([\w-]+)", said)
        if url is None or token is None:
            sys.exit(f"the platform says something else: {said}")
        try:
            yield Platform(url[1], token[1])
        finally:
            process.terminate()

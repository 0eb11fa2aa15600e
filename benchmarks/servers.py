"""HTTP servers that answer ``POST /embeddings``, each in its own process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import requests

from local.environment import clean

ROOT = Path(__file__).parent.parent
INFINITY = ROOT / ".venv-infinity"
# As its users install it; its own limits leave versions open that it does not run with.
INFINITY_NEEDS = (
    "infinity-emb[server]==0.0.78", "sentence-transformers<6", "transformers<5"
)  # fmt: skip


@contextmanager
def ours(**env: str) -> Iterator[str]:
    """Run our worker with ``--serve``; yield the URL of its route."""
    port = _free_port()
    environment = {**clean(os.environ), "DEVICE": "cpu", "RUNPOD_LOG_LEVEL": "WARN", **env}
    command = [sys.executable, "-m", "handler", "--serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with _running(command, environment, f"{url}/ping"):
        yield f"{url}/v1/embeddings"


@contextmanager
def infinity(model: Path) -> Iterator[str]:
    """Run infinity with its torch engine in float32; yield the URL of its route."""
    port = _free_port()
    command = [
        str(INFINITY / "bin" / "infinity_emb"), "v2", "--model-id", str(model),
        "--served-model-name", "model", "--engine", "torch", "--device", "cpu",
        "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port),
        "--no-vector-disk-cache",  # the rounds embed the same texts again
    ]  # fmt: skip
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
    url = f"http://127.0.0.1:{port}"
    with _running(command, environment, f"{url}/health"):
        yield f"{url}/embeddings"


def install_infinity() -> None:
    """Create infinity's own environment, once."""
    if (INFINITY / "bin" / "infinity_emb").exists():
        return
    print(f"making {INFINITY.name} (a few minutes)", file=sys.stderr)
    pip = [str(INFINITY / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([sys.executable, "-m", "venv", str(INFINITY)], check=True)
    # torch first and alone, as in scripts/setup.
    subprocess.run([*pip, "torch==2.13.0"], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*pip, *INFINITY_NEEDS], check=True, stderr=subprocess.DEVNULL)


@contextmanager
def _running(command: Sequence[str], env: dict[str, str], health: str) -> Iterator[None]:
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=output, stderr=output)
        try:
            if not _healthy(process, health):
                output.seek(0)
                sys.exit(f"{command[0]} did not start: {output.read().decode()[-2000:]}")
            yield
        finally:
            process.terminate()
            process.wait(60)


def _healthy(process: subprocess.Popen[bytes], url: str, timeout_s: float = 180) -> bool:
    end = time.monotonic() + timeout_s
    while process.poll() is None and time.monotonic() < end:
        try:
            if requests.get(url, timeout=5).status_code == 200:
                return True
        except requests.ConnectionError:
            pass
        time.sleep(0.2)
    return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port

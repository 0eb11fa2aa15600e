"""From nothing to the first answer, for each surface, in the SDK's real loop.

    .venv/bin/python -m benchmarks.coldstart

For each surface a worker process starts against a local server that speaks the worker protocol,
with one job waiting. Measured from the start of the process:

- ready: the model is warm and the worker asks for jobs
- answer: the first answer is delivered

Beside them, in processes of their own: importing the SDK as it is, and as the worker imports it.
The models are the small defaults of a machine without a GPU, already on disk.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.report import figures, table

ROOT = Path(__file__).parent.parent
ROUNDS = 3
JOBS = {
    "chat": ROOT / "test_input.json",
    "images": ROOT / "examples/images.json",
    "transcribe": ROOT / "examples/transcribe.json",
    "embeddings": ROOT / "examples/embeddings.json",
}


class OneJob(BaseHTTPRequestHandler):
    """Job-take gives the one job, job-done notes the time."""

    job: bytes | None = None
    taken = 0.0
    done = threading.Event()
    answer: Any = None

    def do_GET(self) -> None:
        """Job-take, job-stop and ping."""
        cls = type(self)
        content = b""
        if "/job-take" in self.path and cls.job is not None:
            content, cls.job, cls.taken = cls.job, None, time.perf_counter()
            content = b"[" + content + b"]" if "job-take-batch" in self.path else content
        elif "/job-take" in self.path or "/job-stop" in self.path:
            time.sleep(0.2)
        self._reply(200 if content else 204, content)

    def do_POST(self) -> None:
        """Job-done."""
        content = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).answer = json.loads(content)
        type(self).done.set()
        self._reply(200, b"")

    def _reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def start_to_answer(surface: str, url: str) -> tuple[float, float]:
    """Seconds from the start of a worker to ready, and to its first answer."""
    OneJob.job = json.dumps({"id": "first", **json.loads(JOBS[surface].read_text())}).encode()
    OneJob.done.clear()
    env = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("MODEL_", "RUNPOD_"))},
        "SURFACE": surface,
        "DEVICE": "cpu",
        "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{url}/ping/$RUNPOD_POD_ID",
        "RUNPOD_POD_ID": "bench",
        "RUNPOD_AI_API_KEY": "none",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "handler"], cwd=ROOT, env=env, stdout=output, stderr=output
        )
        try:
            if not OneJob.done.wait(120) or "error" in OneJob.answer:
                output.seek(0)
                sys.exit(f"{surface}: no answer\n{output.read().decode()[-2000:]}")
            answered = time.perf_counter()
        finally:
            process.terminate()
            process.wait(30)
    return OneJob.taken - start, answered - start


def seconds(code: str) -> float:
    """Seconds that a fresh interpreter takes for ``code``, less what an empty one takes."""

    def run(text: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True)
        return time.perf_counter() - start

    return statistics.median(run(code) - run("pass") for _ in range(ROUNDS))


def main() -> None:
    """Measure and print."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), OneJob)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    named: dict[str, float | str] = {}
    rows = []
    for surface in JOBS:
        start_to_answer(surface, url)  # fills the page cache; not counted
        measured = [start_to_answer(surface, url) for _ in range(ROUNDS)]
        ready = statistics.median(one for one, _ in measured)
        answer = statistics.median(one for _, one in measured)
        named |= {f"ready_s_{surface}": ready, f"first_answer_s_{surface}": answer}
        rows.append([surface, f"{ready:.2f}", f"{answer:.2f}"])
    server.shutdown()
    plain = seconds("import runpod")
    ours = seconds("from handler.sdk import import_runpod; import_runpod('INFO')")
    handler = seconds("import handler.sdk")
    named |= {"import_sdk_s": plain, "import_handler_and_sdk_s": ours, "import_handler_s": handler}
    named["import_ratio"] = plain / ours
    table(["surface", "start to ready, s", "start to first answer, s"], rows)
    print()
    table(
        ["import", "s"],
        [
            ["the SDK as it is", f"{plain:.2f}"],
            ["the handler and the SDK, as the worker does", f"{ours:.2f}"],
            ["the handler alone", f"{handler:.2f}"],
        ],
    )
    figures(named)


if __name__ == "__main__":
    main()

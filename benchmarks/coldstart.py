"""From nothing to the first answer, for each surface, in the SDK's real loop.

    .venv/bin/python -m benchmarks.coldstart

For each surface a worker process starts at the local platform, with one job waiting. Measured from
the start of the process:

- ready: the model is warm and the worker asks for jobs
- answer: the first answer is delivered

Beside them, in processes of their own: importing the SDK as it is, and as the worker imports it.
The models are the small defaults of a machine without a GPU, already on disk.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

import requests

from benchmarks.platform import KEY, ROOT, Platform, platform
from benchmarks.report import figures, table

ROUNDS = 3
JOBS = {
    "chat": ROOT / "test_input.json",
    "images": ROOT / "examples/images.json",
    "transcribe": ROOT / "examples/transcribe.json",
    "embeddings": ROOT / "examples/embeddings.json",
}


def start_to_answer(on: Platform, surface: str) -> tuple[float, float]:
    """Seconds from the start of a worker to ready, and to its first answer.

    The job is queued just before; the platform's own clock says when it is taken and answered.
    """
    body = json.loads(JOBS[surface].read_text())
    queued = requests.post(f"{on.url}/v2/{surface}/run", json=body, headers=KEY, timeout=60).json()
    status = f"{on.url}/v2/{surface}/status/{queued['id']}"
    with on.worker(surface, name=f"cold-{time.monotonic_ns()}", SURFACE=surface) as process:
        while True:
            job = requests.get(status, headers=KEY, timeout=60).json()
            if job["status"] not in {"IN_QUEUE", "IN_PROGRESS"}:
                break
            if process.poll() is not None:
                sys.exit(f"{surface}: the worker ended")
            time.sleep(0.05)
    if job["status"] != "COMPLETED":
        sys.exit(f"{surface}: {job}")
    ready_s = job["delayTime"] / 1000
    return ready_s, ready_s + job["executionTime"] / 1000


def seconds(code: str) -> float:
    """Seconds that a fresh interpreter takes for ``code``, less what an empty one takes."""

    def run(text: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True)
        return time.perf_counter() - start

    return statistics.median(run(code) - run("pass") for _ in range(ROUNDS))


def main() -> None:
    """Measure and print."""
    named: dict[str, float | str] = {}
    rows = []
    with platform() as on:
        for surface in JOBS:
            start_to_answer(on, surface)  # fills the page cache; not counted
            measured = [start_to_answer(on, surface) for _ in range(ROUNDS)]
            ready = statistics.median(one for one, _ in measured)
            answer = statistics.median(one for _, one in measured)
            named |= {f"ready_s_{surface}": ready, f"first_answer_s_{surface}": answer}
            rows.append([surface, f"{ready:.2f}", f"{answer:.2f}"])
    plain = seconds("import runpod")
    ours = seconds("from handler.doors.queue.start import import_runpod; import_runpod('INFO')")
    handler = seconds("import handler.doors.queue")
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

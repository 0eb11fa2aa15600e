"""The time from a process's start to its first answer, for each surface, in the SDK's loop.

    .venv/bin/python -m benchmarks.coldstart

For each surface, a worker process starts at the local platform. Measured are:

- ready: from the start of the process until the model is warm and the worker asks for jobs
- first, second: the duration of the first job, and of a similar second one

In turns with it, a bare process only imports the library's class and loads the same folder. Both
run with a cold page cache (the files of weights and libraries are evicted, unless a process has
mapped them) and with a warm one. Figures are medians; the goals are ratios of the two. The models
are the small defaults of a machine without a GPU, on disk.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import requests

from benchmarks.platform import KEY, ROOT, Platform, platform
from benchmarks.report import figures, table
from handler.settings.variables import Settings
from models.catalog import CATALOG
from models.weights.store import WeightsStore

ROUNDS = 3
JOBS = {
    "embeddings": ROOT / "examples/embeddings.json",
    "images": ROOT / "examples/images.json",
    "chat": ROOT / "test_input.json",
    "transcribe": ROOT / "examples/transcribe.json",
    "speech": ROOT / "examples/speech.json",
    "music": ROOT / "examples/music.json",
}
GOALS = {
    "embeddings": 1.5,
    "images": 1.15,
    "chat": 1.15,
    "transcribe": 1.25,
    "speech": 1.25,
    "music": 1.25,
}
BARE = {
    "embeddings": """
        import torch
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        Tokenizer.from_file(folder + "/tokenizer.json")
        for tensor in load_file(folder + "/model.safetensors").values():
            tensor.sum()
        """,
    "images": """
        from diffusers import FluxPipeline
        FluxPipeline.from_pretrained(folder)
        """,
    "chat": """
        import torch
        from transformers import AutoTokenizer, LlamaForCausalLM
        AutoTokenizer.from_pretrained(folder)
        LlamaForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        """,
    "transcribe": """
        from faster_whisper import WhisperModel
        WhisperModel(folder)
        """,
    "speech": """
        from hibari import Hibari
        Hibari(model=folder + "/hibari.onnx")("Ready.")
        """,
    "music": """
        from diffusers import AceStepPipeline, AutoencoderOobleck
        from safetensors.torch import load_file
        from transformers import AutoModel, AutoTokenizer
        AutoModel.from_pretrained(folder + "/Qwen3-Embedding-0.6B")
        AutoTokenizer.from_pretrained(folder + "/Qwen3-Embedding-0.6B")
        AutoencoderOobleck.from_pretrained(folder + "/vae")
        load_file(folder + "/model.safetensors")
        """,
}
_LOADED = "print('loaded', flush=True); os._exit(0)"
STAGES = """
import time
start = time.monotonic()
def past(what):
    print(what, time.monotonic() - start, flush=True)
import handler.__main__, handler.doors.queue.start as door, asyncio, os
from handler.assemble import assemble
from handler.settings.variables import Settings
from models.device.memory import collect_rarely, settle
collect_rarely()
past("the handler's modules")
door.import_runpod("ERROR")
past("the SDK")
worker = assemble(Settings.from_env({**os.environ, "SURFACE": SURFACE, "REHEARSE": "false"}))
past("settings, device, catalog")
load = worker.dispatcher.pool._load
def loading(row):
    import importlib
    importlib.import_module(row.engine.partition(":")[0])
    engine = load(row)
    past("libraries, weights, budget")
    return engine
worker.dispatcher.pool._load = loading
asyncio.run(worker.warm())
object.__setattr__(worker, "rehearses", True)
asyncio.run(worker._rehearse(worker.expected))
past("a rehearsal")
settle()
past("a look for garbage")
os._exit(0)
"""


def folder_of(surface: str) -> Path:
    """Return the folder with the weights of a surface's first model."""
    return WeightsStore(Settings.from_env({}).places()).resolve(CATALOG.default(surface, "cpu"))


def evict(folder: Path) -> None:
    """Drop the files of the weights and libraries from the page cache."""
    os.sync()
    for root in (folder, Path(sys.prefix) / "lib"):
        for path in root.rglob("*"):
            with suppress(OSError):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
                finally:
                    os.close(descriptor)


def bare(surface: str, folder: Path) -> float:
    """Return the seconds from the start of a bare process until the model is loaded."""
    code = f"import os\nfolder = {str(folder)!r}\n{dedent(BARE[surface])}\n{_LOADED}"
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        if process.stdout.readline() != b"loaded\n":
            sys.exit(f"{surface}: the bare process failed")
        return time.perf_counter() - start


def ours(surface: str) -> tuple[float, float, float]:
    """Return the seconds from a worker's start to ready, of its first job and of its second.

    The worker runs at its own platform, which reports when it asks for jobs and what each took.
    """
    with platform() as on:
        return measured(on, surface)


def measured(on: Platform, surface: str) -> tuple[float, float, float]:
    """Return the same at a platform without a worker."""

    def queue() -> str:
        body = json.loads(JOBS[surface].read_text())
        url = f"{on.url}/v2/{surface}/run"
        return requests.post(url, json=body, headers=KEY, timeout=60).json()["id"]

    def done(job_id: str) -> dict[str, Any]:
        while True:
            status = f"{on.url}/v2/{surface}/status/{job_id}"
            job = requests.get(status, headers=KEY, timeout=60).json()
            if job["status"] == "COMPLETED":
                return job
            if job["status"] not in {"IN_QUEUE", "IN_PROGRESS"} or process.poll() is not None:
                sys.exit(f"{surface}: {job}")
            time.sleep(0.02)

    start = time.perf_counter()
    with on.worker(surface, SURFACE=surface) as process:
        ready_s = on.wait_for(surface, 1) - start
        first, second = (done(queue())["executionTime"] / 1000 for _ in range(2))
    return ready_s, first, second


def seconds(code: str) -> float:
    """Return the seconds that a new interpreter takes for ``code``, minus those of an empty one."""

    def run(text: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=True)
        return time.perf_counter() - start

    return statistics.median(run(code) - run("pass") for _ in range(ROUNDS))


def stages(surface: str) -> Iterator[tuple[str, float]]:
    """Yield the stages of a start, and the seconds of each, measured in a new process."""
    with tempfile.TemporaryFile("w+") as said:
        subprocess.run(
            [sys.executable, "-c", f"SURFACE = {surface!r}\n{STAGES}"], cwd=ROOT, check=True,
            stdout=said, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        said.seek(0)
        past = 0.0
        for line in said:
            if match := re.fullmatch(r"(.*) ([\d.e-]+)\n", line):
                yield match[1], float(match[2]) - past
                past = float(match[2])


@dataclass(frozen=True)
class Start:
    """Medians of several starts of one surface, with a cold or a warm page cache."""

    ready_s: float
    bare_s: float
    ratio: float
    first_s: float
    first_over_second: float


def started(surface: str, folder: Path, *, cold: bool) -> Start:
    """Measure the worker and the bare process in turns."""
    rounds = []
    for _ in range(ROUNDS):
        if cold:
            evict(folder)
        worker = ours(surface)
        if cold:
            evict(folder)
        rounds.append((*worker, bare(surface, folder)))
    median = statistics.median
    return Start(
        ready_s=median(ready for ready, *_, _ in rounds),
        bare_s=median(alone for *_, alone in rounds),
        ratio=median(ready / alone for ready, *_, alone in rounds),
        first_s=median(first for _, first, _, _ in rounds),
        first_over_second=median(first / second for _, first, second, _ in rounds),
    )


def row(surface: str, cache: str, start: Start) -> list[object]:
    """Return a row of the table."""
    goal = GOALS[surface]
    return [
        surface, cache, f"{start.ready_s:.2f}", f"{start.bare_s:.2f}", f"{start.ratio:.2f}",
        f"≤ {goal}", start.ratio <= goal, f"{start.first_s:.3f}", f"{start.first_over_second:.2f}",
    ]  # fmt: skip


def imports() -> dict[str, float]:
    """Return the seconds of importing the SDK and the handler."""
    ours = "from handler.doors.queue.start import import_runpod; import_runpod('INFO')"
    return {
        "the SDK as it is": seconds("import runpod"),
        "the handler and the SDK, as the worker does": seconds(ours),
        "the handler alone": seconds("import handler.doors.queue"),
    }


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coldstart")
    parser.add_argument("--only", nargs="+", choices=list(JOBS), default=list(JOBS))
    named: dict[str, float | str] = {}
    rows, parts = [], []
    for surface in parser.parse_args().only:
        folder = folder_of(surface)
        ours(surface)  # fills the page cache; not counted
        for cache in ("cold", "warm"):
            start = started(surface, folder, cold=cache == "cold")
            rows.append(row(surface, cache, start))
            named |= {f"{surface}_{cache}_{name}": one for name, one in asdict(start).items()}
        parts += [[surface, what, f"{took:.2f}"] for what, took in stages(surface)]
    head = ["surface", "cache", "ready, s", "bare, s", "ratio", "goal", "met", "first job, s"]
    table([*head, "first/second"], rows)
    print()
    table(["surface", "of the start, warm cache", "s"], parts)
    print()
    table(["import", "s"], [[what, f"{took:.2f}"] for what, took in imports().items()])
    figures(named)


if __name__ == "__main__":
    main()

"""Very many jobs in one worker: whether memory, files, threads and tasks stay flat.

    .venv/bin/python -m benchmarks.soak embeddings --jobs 10000
    .venv/bin/python -m benchmarks.soak chat images --samples out/soak --plot docs/pictures/soak.svg

The worker serves HTTP with a small model, or with an engine without weights (``--fake``). The jobs
come in a hundred parts, and the worker is sampled after each part, when nothing is in flight. The
goal is that the mean of the last quarter is within 3 % of that of the second quarter, and that
files, threads and tasks are no more. With ``--samples``, a plot shows every surface of that folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.fairness import started
from benchmarks.report import figures, table
from benchmarks.small_jobs import small_jobs, varied

GOAL = 0.03
_SAMPLES = 100
_AT_ONCE = 8
_REST_S = 0.05  # until what a job has left behind is closed


@dataclass(frozen=True)
class Sample:
    """The worker, all its processes together, after some jobs.

    Attributes:
        jobs: how many.
        rss_mb: the memory in use.
        files, threads: how many are open, and run.
        tasks: of the event loop, by ``/metrics``.
        pool_mb: what the pool counts for the warm models, by ``/metrics``.
        in_flight: requests that are not answered, by ``/metrics``.
    """

    jobs: int
    rss_mb: float
    files: int
    threads: int
    tasks: int = 0
    pool_mb: float = 0.0
    in_flight: int = 0


@dataclass(frozen=True)
class Growth:
    """The last quarter of the samples, compared with the second.

    Attributes:
        memory: the growth of the mean memory, as a share.
        files, threads, tasks: how many more there are at most.
        pool_mb: how much more the pool counts at most.
    """

    memory: float
    files: int
    threads: int
    tasks: int
    pool_mb: float

    @property
    def flat(self) -> bool:
        """Whether the goal is met."""
        return self.memory <= GOAL and max(self.files, self.threads, self.tasks, self.pool_mb) <= 0


def growth(samples: list[Sample]) -> Growth:
    """Compare the last quarter of the samples with the second."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    means = [statistics.mean(each.rss_mb for each in part) for part in (second, last)]

    def more(name: str) -> Any:
        return max(getattr(each, name) for each in last) - max(
            getattr(each, name) for each in second
        )

    return Growth(
        means[1] / means[0] - 1, more("files"), more("threads"), more("tasks"), more("pool_mb")
    )


def sample(process: psutil.Process, jobs: int, metrics: str) -> Sample:
    """Sample a process and its children.

    Args:
        process: the worker.
        jobs: how many it has done.
        metrics: its answer of ``/metrics``.
    """
    rss, files, threads = 0.0, 0, 0
    for each in (process, *process.children(recursive=True)):
        try:
            rss += each.memory_info().rss / 1e6
            files += each.num_fds()
            threads += each.num_threads()
        except psutil.NoSuchProcess:  # a decoder that has ended meanwhile
            continue
    sums = {
        family.name: sum(sample.value for sample in family.samples)
        for family in text_string_to_metric_families(metrics)
    }
    return Sample(
        jobs, rss, files, threads,
        round(sums["quartet_tasks"]),
        sums["quartet_model_memory_bytes"] / 1e6,
        round(sums["quartet_requests_in_flight"]),
    )  # fmt: skip


async def soak(name: str, jobs: int, *, fake: bool = False) -> tuple[list[Sample], float]:
    """Send jobs of a kind; return the samples and the jobs a second."""
    model, route, body = small_jobs()[name]
    env = {"FAKE_ENGINES": "1"} if fake else {}
    process, url = await started(surface_of(name), "" if fake else model, **env)
    worker, part, samples = psutil.Process(process.pid), max(1, jobs // _SAMPLES), list[Sample]()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as session:

            async def send(numbers: Any) -> None:
                for number in numbers:
                    async with session.post(url + route, json=varied(body, number)) as answer:
                        if answer.status != 200:
                            raise SystemExit(f"job {number}: {await answer.text()}")
                        await answer.read()

            begin = time.perf_counter()
            for done in range(0, jobs, part):
                numbers = iter(range(done, min(jobs, done + part)))
                await asyncio.gather(*(send(numbers) for _ in range(_AT_ONCE)))
                await asyncio.sleep(_REST_S)
                async with session.get(f"{url}/metrics") as answer:
                    samples.append(sample(worker, done + part, await answer.text()))
            return samples, jobs / (time.perf_counter() - begin)
    finally:
        process.terminate()
        await process.wait()


def surface_of(name: str) -> str:
    """Return the surface of a kind of jobs: ``ocr`` is chat's."""
    return "chat" if name == "ocr" else name


def shown(name: str, jobs: int, samples: list[Sample], per_s: float) -> Growth:
    """Print the samples and what they come to."""
    columns = list(asdict(samples[0]))
    rows = [[f"{value:g}" for value in asdict(each).values()] for each in samples]
    table(columns, rows[:: max(1, len(rows) // 10)])
    grown = growth(samples)
    figures({
        "surface": name, "jobs": jobs, "per_second": per_s, "memory_growth": grown.memory,
        "more_files": grown.files, "more_threads": grown.threads, "more_tasks": grown.tasks,
        "more_pool_mb": grown.pool_mb,
    })  # fmt: skip
    return grown


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    # The empty list is what argparse takes none for: a plot of earlier samples alone.
    parser.add_argument("surfaces", nargs="*", choices=[*small_jobs(), []])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--fake", action="store_true")
    parser.add_argument("--samples", type=Path, help="a folder that keeps the samples")
    parser.add_argument("--plot", type=Path, help="of all samples of that folder")
    given = parser.parse_args()
    grown = []
    for name in given.surfaces:
        samples, per_s = await soak(name, given.jobs, fake=given.fake)
        grown.append(shown(name, given.jobs, samples, per_s))
        if given.samples:
            given.samples.mkdir(parents=True, exist_ok=True)
            kept = [asdict(each) for each in samples]
            (given.samples / f"{name}.json").write_text(json.dumps(kept))
    if given.plot:
        from benchmarks.plots import soak_plot

        files = sorted(given.samples.glob("*.json"))
        soak_plot({file.stem: json.loads(file.read_text()) for file in files}, given.plot)
    return 0 if all(each.flat for each in grown) else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

"""Very many jobs in one worker: whether memory, files, threads and tasks stay flat.

    .venv/bin/python -m benchmarks.soak embeddings --jobs 10000

The worker serves HTTP with a small model, or with an engine without weights (``--fake``). It is
sampled a hundred times. The goal is that the mean of the last quarter is within 3 % of that of the
second quarter, and that files and threads are no more.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil

from benchmarks.fairness import cases, started
from benchmarks.report import figures, table

GOAL = 0.03
_SAMPLES = 100
_AT_ONCE = 8


@dataclass(frozen=True)
class Sample:
    """The worker, all its processes together, after some jobs."""

    jobs: int
    rss_mb: float
    files: int
    threads: int


@dataclass(frozen=True)
class Growth:
    """The last quarter of the samples, compared with the second.

    Attributes:
        memory: the growth of the mean memory, as a share.
        files, threads: how many more there are at most.
    """

    memory: float
    files: int
    threads: int

    @property
    def flat(self) -> bool:
        """Whether the goal is met."""
        return self.memory <= GOAL and self.files <= 0 and self.threads <= 0


def growth(samples: list[Sample]) -> Growth:
    """Compare the last quarter of the samples with the second."""
    quarter = len(samples) // 4
    second, last = samples[quarter : 2 * quarter], samples[-quarter:]
    means = [statistics.mean(each.rss_mb for each in part) for part in (second, last)]
    return Growth(
        means[1] / means[0] - 1,
        max(each.files for each in last) - max(each.files for each in second),
        max(each.threads for each in last) - max(each.threads for each in second),
    )


def sample(process: psutil.Process, jobs: int) -> Sample:
    """Sample a process and its children."""
    rss, files, threads = 0.0, 0, 0
    for each in (process, *process.children(recursive=True)):
        try:
            rss += each.memory_info().rss / 1e6
            files += each.num_fds()
            threads += each.num_threads()
        except psutil.NoSuchProcess:  # a decoder that has ended meanwhile
            continue
    return Sample(jobs, rss, files, threads)


async def soak(surface: str, jobs: int, *, fake: bool = False) -> tuple[list[Sample], float]:
    """Send the jobs; return the samples and the jobs a second."""
    model, route, body, _ = cases()[surface]
    env = {"FAKE_ENGINES": "1"} if fake else {}
    process, url = await started(surface, "" if fake else model, **env)
    samples: list[Sample] = []
    worker, waiting = psutil.Process(process.pid), iter(range(jobs))
    try:
        async with aiohttp.ClientSession() as session:

            async def send() -> None:
                for number in waiting:
                    async with session.post(url + route, json=varied(body, number)) as answer:
                        await answer.read()
                        if answer.status != 200:
                            raise SystemExit(f"job {number}: {await answer.text()}")
                    if number % max(1, jobs // _SAMPLES) == 0:
                        samples.append(sample(worker, number))

            begin = time.perf_counter()
            await asyncio.gather(*(send() for _ in range(_AT_ONCE)))
            return samples, jobs / (time.perf_counter() - begin)
    finally:
        process.terminate()
        await process.wait()


def varied(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a body of its own for each job, so that no cache answers."""
    if "input" in body:
        return {**body, "input": f"{body['input']} {number}"}
    if "prompt" in body:
        return {**body, "prompt": f"{body['prompt']} {number}", "steps": 1, "size": "64x64"}
    if "messages" in body:
        return {
            **body,
            "messages": [{"role": "user", "content": f"Count {number}."}],
            "max_tokens": 1,
        }
    return body


async def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak")
    parser.add_argument("surface", choices=list(cases()))
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--fake", action="store_true")
    given = parser.parse_args()
    samples, per_s = await soak(given.surface, given.jobs, fake=given.fake)
    head = ["jobs", "MB", "files", "threads"]
    shown = samples[:: max(1, len(samples) // 10)]
    table(
        head,
        [[sample.jobs, f"{sample.rss_mb:.1f}", sample.files, sample.threads] for sample in shown],
    )
    grown = growth(samples)
    figures({
        "surface": given.surface, "jobs": given.jobs, "per_second": per_s,
        "memory_growth": grown.memory, "more_files": grown.files, "more_threads": grown.threads,
    })  # fmt: skip
    return 0 if grown.flat else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

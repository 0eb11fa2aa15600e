"""The worker's overhead per job: entry and dispatch around an engine that does nothing.

    .venv/bin/python -m benchmarks.overhead

Both sides answer the same requests in one process, in turns: once through ``Worker.answer`` (parse,
validate, select, lease, batch, format, check the JSON), and once by calling the fake engine's
methods only. The goal is a difference of at most 0.5 ms per job.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable

from benchmarks.report import figures, table
from handler.assemble import assemble
from handler.settings.variables import Settings
from models.embeddings.request import EmbedRequest
from models.fake import FakeEmbeddings
from models.fake import rows as fake_rows
from models.warm.ticket import Submission

ROUNDS, JOBS = 15, 200
GOAL_MS = 0.5


async def main() -> None:
    """Measure one job at a time and sixteen at once, and print the results."""
    worker = assemble(Settings.from_env({"FAKE_ENGINES": "1", "DEVICE": "cpu"}))
    row = next(row for row in fake_rows() if row.surface == "embeddings")
    engine = FakeEmbeddings(row)
    job = {"id": "j", "input": {"input": "The quick brown fox jumps over the lazy dog"}}
    request = EmbedRequest((job["input"]["input"],))

    async def ours() -> None:
        answer = await worker.answer(job)
        assert b'"data"' in answer.content

    async def bare() -> None:
        work = await engine.prepare(request)
        work.finish(engine.run(Submission(work).make_tickets()))

    await ours()
    rows, named = [], {}
    for at_once in (1, 16):
        measured = [
            (await per_job_ms(ours, at_once), await per_job_ms(bare, at_once))
            for _ in range(ROUNDS)
        ]
        with_worker = statistics.median(served for served, _ in measured)
        without = statistics.median(bare for _, bare in measured)
        cost = statistics.median(served - bare for served, bare in measured)
        rows.append(
            [at_once, f"{with_worker:.3f}", f"{without:.3f}", f"{cost:.3f}", cost <= GOAL_MS]
        )
        named[f"overhead_ms_{at_once}"] = cost
    table(["jobs at once", "worker ms/job", "engine ms/job", "overhead ms/job", "goal met"], rows)
    figures(named)


async def per_job_ms(one: Callable[[], Awaitable[None]], at_once: int) -> float:
    """Return the milliseconds of wall time per job, with ``at_once`` in progress."""
    start = time.perf_counter()
    for _ in range(JOBS // at_once):
        await asyncio.gather(*(one() for _ in range(at_once)))
    return (time.perf_counter() - start) / (JOBS // at_once * at_once) * 1000


if __name__ == "__main__":
    asyncio.run(main())

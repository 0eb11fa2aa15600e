"""What a job costs on its way: local queue, the SDK's loop, the worker; and how workers scale.

    .venv/bin/python -m benchmarks.queue

One platform, two workers, the same jobs in turns: ours with an engine that does nothing, and the
SDK's own loop around a handler that returns a constant of the same size. The SDK dominates both: it
looks for work every 100 ms when idle, and so one job at a time takes that long; so

- alone: one job at a time by ``/runsync``, its latency at the client
- at once: a burst that a worker may take whole, milliseconds of wall time a job

The goal: our worker adds at most 1 ms a job, both ways. Then the embeddings of the small default
model, with one worker process and with two, each of one thread, as each would have its own GPU.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import ExitStack

import aiohttp

from benchmarks.platform import KEY, platform
from benchmarks.report import figures, table

GOAL_MS = 1.0
ROUNDS, ALONE, BURST = 7, 12, 500
TEXTS, JOBS = 16, 96
INPUT = {"input": "The quick brown fox jumps over the lazy dog"}
ANSWER = {
    "object": "list",
    "model": "Bare",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.3535533845424652] * 8}],
    "usage": {"prompt_tokens": 43, "total_tokens": 43},
}
BARE = f"""
import runpod
runpod.RunPodLogger().level = "WARN"
async def handler(job):
    return {ANSWER!r}
runpod.serverless.start({{"handler": handler, "concurrency_modifier": lambda _: {BURST}}})
"""


async def alone_ms(session: aiohttp.ClientSession, url: str) -> float:
    """Median milliseconds of one job, each sent when the last is answered."""
    times = []
    for _ in range(ALONE):
        start = time.perf_counter()
        async with session.post(f"{url}/runsync", json={"input": INPUT}) as response:
            done = await response.json()
        times.append((time.perf_counter() - start) * 1000)
        assert done["status"] == "COMPLETED", done
    return statistics.median(times)


async def burst_ms(
    session: aiohttp.ClientSession, url: str, jobs: int, body: dict[str, object]
) -> float:
    """Milliseconds of wall time a job: all sent at once, until all are answered."""

    async def one() -> None:
        async with session.post(f"{url}/runsync?wait=300000", json={"input": body}) as response:
            done = await response.json()
        assert done["status"] == "COMPLETED", done

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(jobs)))
    return (time.perf_counter() - start) * 1000 / jobs


async def overhead(url: str) -> dict[str, float]:
    """Both workers in turns; medians of the rounds, and of the differences within each."""
    ours, bare = f"{url}/v2/embeddings", f"{url}/v2/chat"
    measured: dict[str, list[float]] = {name: [] for name in ("a1", "a2", "b1", "b2")}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=KEY, connector=connector) as session:
        for one in (ours, bare):  # warm both, not counted
            await burst_ms(session, one, 50, INPUT)
        for _ in range(ROUNDS):
            measured["a1"].append(await alone_ms(session, ours))
            measured["a2"].append(await alone_ms(session, bare))
            measured["b1"].append(await burst_ms(session, ours, BURST, INPUT))
            measured["b2"].append(await burst_ms(session, bare, BURST, INPUT))
    middle = {name: statistics.median(values) for name, values in measured.items()}

    def added(first: str, second: str) -> float:
        pairs = zip(measured[first], measured[second], strict=True)
        return statistics.median(one - other for one, other in pairs)

    return {
        "p50_ms_ours": middle["a1"],
        "p50_ms_bare": middle["a2"],
        "added_ms_alone": added("a1", "a2"),
        "jobs_per_s_ours": 1000 / middle["b1"],
        "jobs_per_s_bare": 1000 / middle["b2"],
        "added_ms_at_once": added("b1", "b2"),
    }


def scaling() -> dict[str, float]:
    """Texts a second with one worker process and with two, in turns."""
    lines = [f"Sentence {n} of a text that is embedded, some words longer." for n in range(TEXTS)]
    body: dict[str, object] = {"input": lines, "encoding_format": "base64"}
    env = {"SURFACE": "embeddings", "OMP_NUM_THREADS": "1", "CONCURRENCY": "16"}

    async def texts_per_s(url: str, jobs: int = JOBS) -> float:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(headers=KEY, connector=connector) as session:
            return TEXTS * 1000 / await burst_ms(session, f"{url}/v2/embeddings", jobs, body)

    rates: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for count in (1, 2):
            with platform() as on, ExitStack() as workers:
                for n in range(count):
                    workers.enter_context(on.worker("embeddings", name=f"scale-{n}", **env))
                on.wait_for("embeddings", count)
                asyncio.run(texts_per_s(on.url, 8 * count))  # warms up, not counted
                rates[count].append(asyncio.run(texts_per_s(on.url)))
    one, two = statistics.median(rates[1]), statistics.median(rates[2])
    return {
        "texts_per_s_1_worker": one,
        "texts_per_s_2_workers": two,
        "scaling_2_workers": statistics.median(
            second / first for first, second in zip(rates[1], rates[2], strict=True)
        ),
    }


def main() -> None:
    """Measure and print."""
    with platform() as on:
        fake = {"FAKE_ENGINES": "1", "SURFACE": "embeddings", "CONCURRENCY": str(BURST)}
        with (
            on.worker("embeddings", name="ours", **fake),
            on.worker("chat", sys.executable, "-c", BARE, name="bare"),
        ):
            on.wait_for("embeddings", 1)
            on.wait_for("chat", 1)
            named = asyncio.run(overhead(on.url))
    named |= scaling()
    rows = [
        [
            what,
            f"{named[ours]:{shape}}",
            f"{named[bare]:{shape}}",
            f"{named[added]:.2f}",
            named[added] <= GOAL_MS,
        ]
        for what, ours, bare, added, shape in (
            ("alone, p50 ms", "p50_ms_ours", "p50_ms_bare", "added_ms_alone", ".1f"),
            ("at once, jobs/s", "jobs_per_s_ours", "jobs_per_s_bare", "added_ms_at_once", ".0f"),
        )
    ]
    table(["jobs", "our worker", "the SDK's loop alone", "added ms/job", "goal met"], rows)
    print()
    scale = [f"{named[key]:.0f}" for key in ("texts_per_s_1_worker", "texts_per_s_2_workers")]
    table(
        ["embeddings, texts/s", "1 worker", "2 workers", "ratio"],
        [["All_MiniLM_L6_v2", *scale, f"{named['scaling_2_workers']:.2f}"]],
    )
    figures(named)


if __name__ == "__main__":
    main()

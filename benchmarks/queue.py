"""The overhead of a job in the local queue, the SDK's loop and the worker; sharing of jobs.

    .venv/bin/python -m benchmarks.queue

One platform, two workers, the same jobs in turns: ours with an engine that does nothing, and the
SDK's own loop around a handler that returns a constant of the same size.

- alone: one job at a time by ``/runsync``, its latency at the client
- one slot: jobs of 5 ms at a worker that takes one at a time
- at once: a burst that a worker may take as a whole
- idle: processor time of the worker and its pings without jobs

Then two workers share jobs of one second, with the number of slots that transcription has. Last
come embeddings of the small default model, with one worker process and with two, each with one
thread, as each would have its own GPU. ``--quick`` leaves the embeddings out.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from collections import Counter
from contextlib import ExitStack

import aiohttp
import psutil

from benchmarks.platform import KEY, Platform, platform
from benchmarks.report import figures, table

GOALS = {
    "p50_ms_ours": 12.0,
    "jobs_per_s_1_ours": 60.0,
}
ROUNDS, ALONE, BURST = 7, 12, 500
SLOT_JOBS_OURS, SLOT_JOBS_BARE = 300, 5
STEP_S = 0.005
IDLE_S = 20.0
SHARED_JOBS, SHARED_S = 100, 1.0
TEXTS, JOBS = 16, 96
INPUT = {"input": "The quick brown fox jumps over the lazy dog"}
ANSWER = {
    "object": "list",
    "model": "Bare",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.3535533845424652] * 8}],
    "usage": {"prompt_tokens": 43, "total_tokens": 43},
}


def bare(slots: int, step_s: float = 0.0) -> str:
    """Return a script with the SDK's loop around a handler that waits and returns a constant."""
    return f"""
import asyncio
import runpod
runpod.RunPodLogger().level = "WARN"
async def handler(job):
    if {step_s}:
        await asyncio.sleep({step_s})
    return {ANSWER!r}
runpod.serverless.start({{"handler": handler, "concurrency_modifier": lambda _: {slots}}})
"""


async def alone_ms(session: aiohttp.ClientSession, url: str) -> float:
    """Return the median milliseconds of a job; each is sent when the last is answered."""
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
    """Return the milliseconds of wall time per job, if all are sent at once."""

    async def one() -> None:
        async with session.post(f"{url}/runsync?wait=300000", json={"input": body}) as response:
            done = await response.json()
        assert done["status"] == "COMPLETED", done

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(jobs)))
    return (time.perf_counter() - start) * 1000 / jobs


def connection() -> aiohttp.ClientSession:
    """Return a session for any number of concurrent requests."""
    return aiohttp.ClientSession(headers=KEY, connector=aiohttp.TCPConnector(limit=0))


async def in_turns(url: str) -> dict[str, float]:
    """Measure both workers in turns, one job at a time and a burst; return medians."""
    ours, other = f"{url}/v2/embeddings", f"{url}/v2/chat"
    measured: dict[str, list[float]] = {name: [] for name in ("a1", "a2", "b1", "b2")}
    async with connection() as session:
        for server in (ours, other):  # warm both, not counted
            await burst_ms(session, server, 50, INPUT)
        for _ in range(ROUNDS):
            measured["a1"].append(await alone_ms(session, ours))
            measured["a2"].append(await alone_ms(session, other))
            measured["b1"].append(await burst_ms(session, ours, BURST, INPUT))
            measured["b2"].append(await burst_ms(session, other, BURST, INPUT))
    middle = {name: statistics.median(values) for name, values in measured.items()}
    return {
        "p50_ms_ours": middle["a1"],
        "p50_ms_bare": middle["a2"],
        "jobs_per_s_ours": 1000 / middle["b1"],
        "jobs_per_s_bare": 1000 / middle["b2"],
    }


def used_s(pid: int) -> float:
    """Return the processor time of a process and its descendants."""
    whole = psutil.Process(pid)
    return sum(sum(process.cpu_times()[:2]) for process in (whole, *whole.children(recursive=True)))


def many_slots(on: Platform) -> dict[str, float]:
    """Measure alone, at once, and idle."""
    fake = {"FAKE_ENGINES": "1", "SURFACE": "embeddings", "CONCURRENCY": str(BURST)}
    with (
        on.worker("embeddings", name="ours", **fake) as ours,
        on.worker("chat", sys.executable, "-c", bare(BURST), name="bare") as other,
    ):
        on.wait_for("embeddings", 1)
        on.wait_for("chat", 1)
        named = asyncio.run(in_turns(on.url))
        before = used_s(ours.pid), used_s(other.pid)
        time.sleep(IDLE_S)
        named["idle_cpu_s_ours"] = used_s(ours.pid) - before[0]
        named["idle_cpu_s_bare"] = used_s(other.pid) - before[1]
    return named


def one_slot(on: Platform) -> dict[str, float]:
    """Measure jobs of 5 ms, one at a time in the worker, many in the queue."""

    async def rate(endpoint: str, jobs: int) -> float:
        async with connection() as session:
            return 1000 / await burst_ms(session, f"{on.url}/v2/{endpoint}", jobs, INPUT)

    fake = {
        "FAKE_ENGINES": "1",
        "FAKE_DELAY_S": str(STEP_S),
        "SURFACE": "embeddings",
        "CONCURRENCY": "1",
    }
    with (
        on.worker("embeddings", name="ours-1", **fake),
        on.worker("chat", sys.executable, "-c", bare(1, STEP_S), name="bare-1"),
    ):
        on.wait_for("embeddings", 1)
        on.wait_for("chat", 1)
        asyncio.run(rate("embeddings", 10))  # warms up, not counted
        rates = [asyncio.run(rate("embeddings", SLOT_JOBS_OURS)) for _ in range(3)]
        return {
            "jobs_per_s_1_ours": statistics.median(rates),
            "jobs_per_s_1_bare": asyncio.run(rate("chat", SLOT_JOBS_BARE)),
        }


def sharing(on: Platform) -> dict[str, float]:
    """Measure two workers with jobs of a second and the number of slots of transcription.

    Returns:
        The smaller worker's share relative to an even one, and the time relative to the ideal.
    """
    fake = {
        "FAKE_ENGINES": "1",
        "FAKE_DELAY_S": str(SHARED_S),
        "SURFACE": "transcribe",
        "MODEL_MAX_BATCH_SIZE": "1",
    }
    body = {"input": {"audioUrl": "data:audio/wav;base64,UklGRg=="}}
    shares: Counter[str] = Counter()

    async def one(session: aiohttp.ClientSession) -> None:
        url = f"{on.url}/v2/transcribe/runsync?wait=300000"
        async with session.post(url, json=body) as response:
            done = await response.json()
        assert done["status"] == "COMPLETED", done
        shares[done["workerId"]] += 1

    async def all_of_them() -> float:
        async with connection() as session:
            start = time.perf_counter()
            await asyncio.gather(*(one(session) for _ in range(SHARED_JOBS)))
            return time.perf_counter() - start

    with on.worker("transcribe", name="one", **fake), on.worker("transcribe", name="two", **fake):
        on.wait_for("transcribe", 2)
        took_s = asyncio.run(all_of_them())
    return {
        "share_least": min(shares.values()) / (SHARED_JOBS / 2) if len(shares) == 2 else 0.0,
        "shared_time_ratio": took_s / (SHARED_JOBS * SHARED_S / 2),
    }


def scaling() -> dict[str, float]:
    """Return texts per second with one worker process and with two, in turns."""
    lines = [f"Sentence {n} of a text that is embedded, some words longer." for n in range(TEXTS)]
    body: dict[str, object] = {"input": lines, "encoding_format": "base64"}
    env = {"SURFACE": "embeddings", "OMP_NUM_THREADS": "1"}

    async def texts_per_s(url: str, jobs: int = JOBS) -> float:
        async with connection() as session:
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
    return {
        "texts_per_s_1_worker": statistics.median(rates[1]),
        "texts_per_s_2_workers": statistics.median(rates[2]),
        "scaling_2_workers": statistics.median(
            second / first for first, second in zip(rates[1], rates[2], strict=True)
        ),
    }


def main() -> None:
    """Measure and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="without the embeddings")
    quick = parser.parse_args().quick
    with platform() as on:
        named = many_slots(on)
    with platform() as on:
        named |= one_slot(on)
    with platform() as on:
        named |= sharing(on)
    rows = [
        [what, f"{named[ours]:{shape}}", f"{named[other]:{shape}}", goal, met]
        for what, ours, other, shape, goal, met in (
            (
                "alone, p50 ms", "p50_ms_ours", "p50_ms_bare", ".1f", "≤ 12",
                named["p50_ms_ours"] <= GOALS["p50_ms_ours"],
            ),
            (
                "one slot of 5 ms, jobs/s", "jobs_per_s_1_ours", "jobs_per_s_1_bare", ".1f", "≥ 60",
                named["jobs_per_s_1_ours"] >= GOALS["jobs_per_s_1_ours"],
            ),
            (
                "at once, jobs/s", "jobs_per_s_ours", "jobs_per_s_bare", ".0f", "≥ the SDK's",
                named["jobs_per_s_ours"] >= named["jobs_per_s_bare"],
            ),
            (
                f"idle for {IDLE_S:.0f} s, CPU s", "idle_cpu_s_ours", "idle_cpu_s_bare", ".2f",
                "≤ the SDK's", named["idle_cpu_s_ours"] <= named["idle_cpu_s_bare"],
            ),
        )
    ]  # fmt: skip
    table(["jobs", "our worker", "the SDK's loop alone", "goal", "met"], rows)
    print()
    least = named["share_least"]
    table(
        ["100 jobs of 1 s, two workers", "", "goal", "met"],
        [
            ["the smaller share, of even", f"{least:.2f}", "≥ 0.9", least >= 0.9],
            ["time, of a perfect division", f"{named['shared_time_ratio']:.2f}", "", ""],
        ],
    )
    if not quick:
        named |= scaling()
        print()
        scale = [f"{named[key]:.0f}" for key in ("texts_per_s_1_worker", "texts_per_s_2_workers")]
        table(
            ["embeddings, texts/s", "1 worker", "2 workers", "ratio"],
            [["All_MiniLM_L6_v2", *scale, f"{named['scaling_2_workers']:.2f}"]],
        )
    figures(named)


if __name__ == "__main__":
    main()

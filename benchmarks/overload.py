"""Ten times the load that a worker can do: what is answered, what is refused, and what memory does.

    .venv/bin/python -m benchmarks.overload [--plot docs/pictures/overload.svg]

First some clients that wait for their answers show what the worker can do. Then requests come at a
fixed rate, whatever becomes of them: a part of that, and ten times as many. An answer counts if it
comes within ``IN_TIME_S``. Behind the queue, ten times the jobs wait, and the worker takes no more
than it runs. The engine has no weights and takes a fixed time for each run, so that the machine's
cores are left to the doors.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import psutil

from benchmarks.platform import KEY, ROOT, platform
from benchmarks.report import figures, table
from local.environment import clean
from local.process import free_port

IN_TIME_S = 10.0
TIMES = 10
_LOADS = (0.25, 0.5, 0.75, 0.9, 1.5, 2, 4, TIMES)  # in what the worker can do
_LAST_S = 10.0
_CLIENTS = 8  # enough to keep the engine busy
_ENV = {
    "FAKE_ENGINES": "1",
    "FAKE_DELAY_S": "0.02",
    "DEVICE": "cpu",
    "SURFACE": "images",
}
BODY = {"prompt": "A fox", "size": "64x64", "steps": 1, "response_format": "b64_json"}


@dataclass
class Seen:
    """What clients saw.

    Attributes:
        statuses: how many answers had each status.
        times_s: of the answers with status 200.
        without_retry_after: how many answers with 429 had no ``Retry-After``.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    times_s: list[float] = field(default_factory=list)
    without_retry_after: int = 0

    def good(self) -> int:
        """Return the number of answers in time."""
        return sum(time_s <= IN_TIME_S for time_s in self.times_s)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[str, psutil.Process]]:
    """Run ``python -m handler --serve``; lend its address and process."""
    port = free_port()
    command = [sys.executable, "-m", "handler", "--serve", "--port", str(port)]
    env = {**clean(os.environ), **_ENV, "RUNPOD_LOG_LEVEL": "WARN"}
    process = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=env)
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(f"{url}/ping") as answer:
                        if answer.status == 200:
                            break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        yield url, psutil.Process(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def offer(url: str, per_second: float, seconds: float) -> Seen:
    """Send requests at a rate, and wait for their ends."""
    seen = Seen()
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def send() -> None:
            start = time.perf_counter()
            async with session.post(f"{url}/v1/images/generations", json=BODY) as answer:
                await answer.read()
                seen.statuses[answer.status] += 1
                if answer.status == 200:
                    seen.times_s.append(time.perf_counter() - start)
                elif answer.status == 429 and "retry-after" not in answer.headers:
                    seen.without_retry_after += 1

        begin = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for number in range(round(per_second * seconds)):
                await asyncio.sleep(max(0.0, begin + number / per_second - time.perf_counter()))
                group.create_task(send())
    return seen


async def closed(url: str, seconds: float) -> float:
    """Return the answers a second of clients that wait for each answer before they ask again."""
    end, count = time.perf_counter() + seconds, 0

    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            nonlocal count
            while time.perf_counter() < end:
                async with session.post(f"{url}/v1/images/generations", json=BODY) as answer:
                    await answer.read()
                    count += answer.status == 200

        await asyncio.gather(*(ask() for _ in range(_CLIENTS)))
    return count / seconds


async def over_http(plot: Path | None) -> dict[str, float]:
    """Measure the door of HTTP."""
    rows, goodput, refused, memory = [], {}, {}, {}
    async with served() as (url, process):
        await closed(url, 2)  # warm
        most = await closed(url, _LAST_S)
        before = process.memory_info().rss
        for times in _LOADS:
            begin = time.perf_counter()
            seen = await offer(url, times * most, _LAST_S)
            took = time.perf_counter() - begin
            goodput[times] = seen.good() / took
            refused[times] = seen.statuses[429] / took
            memory[times] = (process.memory_info().rss - before) / 1e6
            rows.append([
                f"{times:g}", sum(seen.statuses.values()), seen.statuses[200], seen.statuses[429],
                seen.without_retry_after, f"{goodput[times]:.1f}",
                f"{statistics.median(seen.times_s):.2f}", f"{max(seen.times_s):.2f}",
                f"{memory[times]:.0f}",
            ])  # fmt: skip
    head = ["load", "sent", "200", "429", "429 without Retry-After", "good/s", "p50 s", "max s"]
    table([*head, "MB more"], rows)
    if plot is not None:
        from benchmarks.plots import overload_plot

        overload_plot(most, goodput, refused, plot)
    peak = max(most, *(goodput[times] for times in _LOADS if times < 1))
    return {
        "http_peak_per_s": peak,
        "http_overload_per_s": goodput[TIMES],
        "http_share_of_peak": goodput[TIMES] / peak,
        "http_mb_more": memory[TIMES],
    }


async def behind_the_queue() -> dict[str, float]:
    """Measure the door of the queue: all jobs wait at once."""
    with platform() as local:
        env = {**_ENV, "RUNPOD_LOG_LEVEL": "WARN"}
        with local.worker("images", name="overload", **env) as process:
            local.wait_for("images", 1)
            worker = psutil.Process(process.pid)
            jobs, most, memory = 60 * TIMES, 0, worker.memory_info().rss
            async with aiohttp.ClientSession(headers=KEY) as session:
                for _ in range(jobs):
                    url = f"{local.url}/v2/images/run"
                    async with session.post(url, json={"input": BODY}) as answer:
                        await answer.read()
                begin = time.perf_counter()
                done = first = local.health("images")["jobs"]["completed"]
                while done < jobs:
                    state = local.health("images")["jobs"]
                    done, most = state["completed"], max(most, state["inProgress"])
                    await asyncio.sleep(0.1)
                took = time.perf_counter() - begin
            grown = (worker.memory_info().rss - memory) / 1e6
    rate = (done - first) / took
    table(
        ["jobs", "most in the worker", "jobs/s", "MB more"],
        [[jobs, most, f"{rate:.1f}", f"{grown:.0f}"]],
    )
    return {"queue_most_taken": float(most), "queue_per_s": rate, "queue_mb_more": grown}


async def main(plot: Path | None) -> None:
    figures({**await over_http(plot), **await behind_the_queue()})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.overload")
    parser.add_argument("--plot", type=Path, help="of what is answered and refused at each load")
    asyncio.run(main(parser.parse_args().plot))

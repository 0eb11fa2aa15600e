"""What one small request may cost: the dearest of each surface, against a worker of a small model.

    .venv/bin/python -m benchmarks.dear [SURFACE …]

A request is small if it has at most a megabyte. Each has a limit of its own, which the table names;
all are bounded by ``JOB_TIMEOUT_S`` besides, which is a minute here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

import aiohttp

from benchmarks.dear_requests import CASES
from benchmarks.fairness import started
from benchmarks.report import figures, table

_JOB_TIMEOUT_S = 60
_LATE_S = 30.0  # beyond the job's timeout: what it takes to stop


async def measure(name: str) -> dict[str, float]:
    """Measure the requests of one kind, and print them; return their seconds."""
    surface, model, cases = CASES[name]
    process, url = await started(surface, model, JOB_TIMEOUT_S=str(_JOB_TIMEOUT_S))
    rows, seconds = [], {}
    try:
        timeout = aiohttp.ClientTimeout(total=_JOB_TIMEOUT_S + _LATE_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for case in cases():
                body = json.dumps(case.body())
                took, end = await asked(session, url + case.route, body)
                size = f"{len(body) / 1000:.0f}"
                rows.append([name, case.what, size, f"{took:.1f}", end, case.bound])
                seconds[f"{name}: {case.what}"] = took
    finally:
        process.kill()
        await process.wait()
    table(["surface", "request", "kB", "seconds", "end", "bound"], rows)
    return seconds


async def asked(session: aiohttp.ClientSession, url: str, body: str) -> tuple[float, str]:
    """Return the seconds of a request, and how it ended: ``200``, or its error's code."""
    start = time.perf_counter()
    headers = {"Content-Type": "application/json"}
    async with session.post(url, data=body, headers=headers) as answer:
        content = await answer.read()
    took, code = time.perf_counter() - start, str(answer.status)
    if answer.status != 200:
        error: Mapping[str, Any] = json.loads(content).get("error", {})
        code = str(error.get("code"))
    return took, code


async def main(names: list[str]) -> None:
    seconds: dict[str, float] = {}
    for name in names:
        seconds |= await measure(name)
    figures(seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dear")
    parser.add_argument("surfaces", nargs="*", default=list(CASES))
    asyncio.run(main(parser.parse_args().surfaces))

"""Detect lost workers: those that are silent, and those whose poll broke off."""

from __future__ import annotations

import asyncio

from local.queue.platform import Platform
from local.queue.workers import Worker


async def watch(platform: Platform) -> None:
    """Remove silent workers; runs for ever."""
    limit_s = platform.limits.worker_silence_s
    while True:
        await asyncio.sleep(limit_s / 10)
        for worker in list(platform.workers.values()):
            silent_s = _now() - worker.seen
            started = worker.taking and not worker.open_polls
            if started and silent_s > limit_s:
                platform.gone(worker, f"was silent for {silent_s:.0f} s")


def poll_cut(platform: Platform, worker: Worker) -> None:
    """Remove a worker whose poll broke off, unless it polls again soon.

    A ping does not count: the SDK pings from a process that may outlive the worker.
    """

    def check(before: float) -> None:
        if worker.polled == before and not worker.open_polls:
            platform.gone(worker, "broke off and did not come back")

    worker.polled = _now()
    asyncio.get_running_loop().call_later(platform.limits.cut_poll_s, check, worker.polled)


def _now() -> float:
    return asyncio.get_running_loop().time()

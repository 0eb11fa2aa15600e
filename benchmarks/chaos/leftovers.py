"""What workers still hold when no job is left, and processes that outlive them."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Sequence

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.chaos.processes import Life, WorkerSlot

_QUIET_S = 20.0
_END_S = 25.0
_LOOK_S = 0.05


async def in_flight(http: httpx.AsyncClient, life: Life) -> float:
    """Return the number of requests that a worker is answering."""
    answer = await http.get(f"http://127.0.0.1:{life.metrics_port}/metrics")
    families = text_string_to_metric_families(answer.text)
    return sum(
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "quartet_requests_in_flight"
    )


async def held(workers: Sequence[WorkerSlot]) -> list[str]:
    """Return what running workers hold; they get some time to put it down."""
    left: list[str] = []
    end = time.monotonic() + _QUIET_S
    async with httpx.AsyncClient(timeout=10) as http:
        while time.monotonic() < end:
            left = [line for worker in workers for line in await _held_by(http, worker)]
            if not left:
                break
            await asyncio.sleep(0.5)
    return left


async def _held_by(http: httpx.AsyncClient, worker: WorkerSlot) -> list[str]:
    life = worker.lives[-1]
    name = f"{worker.name}, process {len(worker.lives)}"
    try:
        requests = await in_flight(http, life)
        process = psutil.Process(life.process.pid)
        open_files = [file.path for file in process.open_files() if str(life.folder) in file.path]
        closing = [
            connection
            for connection in process.net_connections()
            if connection.status == psutil.CONN_CLOSE_WAIT
        ]
        children = [child for child in process.children(recursive=True) if not _belongs(child)]
    except (httpx.HTTPError, psutil.Error) as error:
        return [f"{name} does not answer: {type(error).__name__}"]
    files = [path.name for path in life.folder.rglob("*") if path.is_file()]
    left = []
    left += [f"{name} answers {requests:.0f} requests"] if requests else []
    left += [f"{name} has {len(files)} temporary files: {files[:3]}"] if files else []
    left += [f"{name} has {len(open_files)} temporary files open"] if open_files else []
    left += [f"{name} has {len(closing)} sockets that its peer has closed"] if closing else []
    left += [f"{name} has the process {' '.join(child.cmdline())[:80]}" for child in children]
    return left


def _belongs(child: psutil.Process) -> bool:
    """Whether a worker keeps a child as long as it runs: its pings, and Python's trackers."""
    words = " ".join(child.cmdline())
    return "multiprocessing" in words or "chaos.worker" in words or "pool_worker" in words


async def end_all(workers: Sequence[WorkerSlot]) -> list[str]:
    """End all workers; return those that do not end, and processes that outlive their worker."""
    left = []
    for worker in workers:
        worker.ended.set()
        worker.signal(signal.SIGTERM)
    end = time.monotonic() + _END_S
    for worker in workers:
        life = worker.lives[-1]
        while life.process.poll() is None and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_S)
        if life.process.poll() is None:
            left.append(f"{worker.name} does not end on SIGTERM")
            life.process.kill()
            life.process.wait()
    await asyncio.sleep(1.5)  # a child that polls for its parent ends within a second
    sessions = {life.process.pid for worker in workers for life in worker.lives}
    for process in psutil.process_iter():
        if _session(process.pid) in sessions:
            left.append(f"a process outlives its worker: {' '.join(process.cmdline())[:80]}")
            process.kill()
    return left


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return 0

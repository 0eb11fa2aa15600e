"""The local platform inside a test: the server on a thread, real worker processes behind it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import httpx
import uvicorn

from local.__main__ import KEEP_ALIVE_S
from local.api.faults import Faults
from local.app import SURFACES, Options, build
from local.pools import pools
from local.processes import Workers
from local.queue.endpoints import Served
from local.queue.jobs import Job
from local.queue.limits import Limits
from local.queue.platform import Platform
from local.queue.scale import Scale
from tests.conftest import ROOT
from tests.support.loops import loop_on_a_thread

KEY = {"Authorization": "Bearer any"}
# The workers' own interpreter, which may have another SDK (tests/system/test_sdk_to_come.py).
WORKER = (os.environ.get("WORKER_PYTHON", sys.executable), "-u", "-m", "handler")


def wait_until(true: Callable[[], Any], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@dataclass
class Local:
    """A running platform: its address, and what is behind it."""

    url: str
    token: str
    platform: Platform
    loop: asyncio.AbstractEventLoop
    workers: Workers
    lines: list[str] = field(default_factory=list)

    def http(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, headers=KEY, timeout=60, **options)

    def run(self, endpoint: str, body: dict[str, Any], **job: Any) -> str:
        """Queue a job; returns its id."""
        with self.http() as http:
            response = http.post(f"/v2/{endpoint}/run", json={"input": body, **job})
        assert response.status_code == 200, response.text
        assert response.json()["status"] == "IN_QUEUE"
        return response.json()["id"]

    def status(self, endpoint: str, job_id: str) -> dict[str, Any]:
        with self.http() as http:
            return http.get(f"/v2/{endpoint}/status/{job_id}").json()

    def end(self, endpoint: str, job_id: str, timeout_s: float = 30) -> dict[str, Any]:
        """Wait until a job is final."""
        final = {"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}
        wait_until(lambda: self.status(endpoint, job_id)["status"] in final, timeout_s)
        return self.status(endpoint, job_id)

    def job(self, endpoint: str, job_id: str) -> Job:
        job = self.platform.queues.find(endpoint, job_id)
        assert job is not None
        return job

    def kill(self, name: str, number: signal.Signals) -> None:
        os.kill(self.workers.pids()[name], number)

    def ready(self, count: int) -> None:
        taking = lambda: sum(one.taking for one in list(self.platform.workers.values()))  # noqa: E731
        wait_until(lambda: taking() >= count, 60)


def environment(**env: str) -> dict[str, str]:
    """This process's, without what configures a worker, and with fake engines."""
    foreign = ("MODEL_", "SURFACE", "RUNPOD_", "PORT", "SERVE")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(foreign)}
    return {**inherited, "FAKE_ENGINES": "1", "DEVICE": "cpu", "PYTHONPATH": str(ROOT), **env}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serve_worker(**env: str) -> Iterator[str]:
    """Run ``python -m handler --serve``; lends its address once it listens."""
    port = free_port()
    command = [sys.executable, "-m", "handler", "--serve", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"

    def listens() -> bool:
        assert process.poll() is None, "it ended"
        try:
            httpx.get(f"{url}/ping", timeout=5)
        except httpx.ConnectError:
            return False
        return True

    with subprocess.Popen(command, cwd=ROOT, env=environment(**env)) as process:
        try:
            wait_until(listens)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@contextmanager
def run_local(
    count: int = 1,
    *,
    limits: Limits | None = None,
    key: str | None = None,
    surfaces: tuple[str, ...] = SURFACES,
    further: Mapping[str, Served] = MappingProxyType({}),
    command: tuple[str, ...] | None = None,
    faults: Faults | None = None,
    scale: Scale | None = None,
    **env: str,
) -> Iterator[Local]:
    """Run the platform with ``count`` workers of fake engines, or where it scales, its own."""
    count = count if scale is None else 0

    def call(work: Any, timeout_s: float = 60) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result(timeout_s)

    options = Options(
        limits=limits or Limits(), key=key, surfaces=surfaces, further=further, faults=faults,
        scale=scale,
    )  # fmt: skip

    async def start() -> tuple[Local, uvicorn.Server, list[asyncio.Task[None]], asyncio.Task[None]]:
        application, platform = build(options)
        config = uvicorn.Config(
            application,
            host="127.0.0.1",
            port=0,
            log_config=None,
            timeout_graceful_shutdown=1,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        lines: list[str] = []
        workers = Workers(
            platform, url, options.token, ",".join(surfaces), environment(**env), lines.append, count,
            command or WORKER,
        )  # fmt: skip
        keeping = [asyncio.create_task(workers.keep()) for _ in range(count)]
        if scale is not None:
            scaled = pools(platform, workers, scale, lines.append)
            keeping += [asyncio.create_task(pool.keep()) for pool in scaled]
        local = Local(url, options.token, platform, loop, workers, lines)
        return local, server, keeping, serving

    async def stop() -> None:
        local.platform.drain()
        try:
            async with asyncio.timeout(20):
                await local.workers.stop()
        except TimeoutError:
            local.workers.kill()
            raise
        finally:
            server.should_exit = True
            await serving
            await asyncio.gather(*keeping, return_exceptions=True)

    with loop_on_a_thread() as loop:
        local, server, keeping, serving = call(start())
        try:
            local.ready(count)
            yield local
        finally:
            call(stop())

"""The platform as the SDK sees it, played."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from handler.assemble import assemble
from handler.doors.queue.polls import Absence
from handler.doors.queue.start import import_runpod
from handler.entry import Worker
from handler.settings.variables import Settings
from tests.support.servers import serve

EMBEDDINGS = {"input": "text"}


class Platform:
    """What a worker sees of RunPod: polls, stops, and posts, each of which a test may change.

    Attributes:
        jobs: to be taken; ``None`` ends a poll with nothing.
        refuse: raised by every poll, after ``wait_s`` was asked for.
        status: with which a post of a kind is answered.
        posts: kind, job and content of those that were taken.
    """

    def __init__(self) -> None:
        self.jobs: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.stops: asyncio.Queue[str] = asyncio.Queue()
        self.polls: list[tuple[float, int]] = []
        self.refuse: Exception | None = None
        self.stop_error: Exception | None = None
        self.headers: dict[str, str] = {}
        self.wait_s: float | None = None
        self.status: Callable[[str], int] = lambda kind: 200
        self.posts: list[tuple[str, str, Any]] = []
        self.tried: list[str] = []

    def application(self) -> web.Application:
        application = web.Application(client_max_size=10**9)
        application.router.add_post("/{kind}/{job}", self._post)
        return application

    async def _post(self, request: web.Request) -> web.Response:
        kind, job = request.match_info["kind"], request.match_info["job"]
        self.tried.append(kind)
        status = self.status(kind)
        if status == 200:
            self.posts.append((kind, job, json.loads(await request.read())))
        return web.Response(status=status)

    async def take(self, poll: Any, count: int) -> list[dict[str, Any]]:
        self.polls.append((time.monotonic(), count))
        self.headers = poll.headers
        if self.refuse is not None:
            poll.wait_s = self.wait_s
            raise self.refuse
        first = await self.jobs.get()
        if first is None:
            return []
        taken = [first]
        while len(taken) < count and not self.jobs.empty():
            taken.append(self.jobs.get_nowait() or {})
        return taken

    async def stop(self, session: Any) -> list[str]:
        if self.stop_error is not None:
            raise self.stop_error
        return [await self.stops.get()]

    def put(self, job_id: str, body: dict[str, Any] = EMBEDDINGS, **fields: Any) -> None:
        self.jobs.put_nowait({"id": job_id, "input": body, **fields})

    def results(self) -> list[str]:
        return [job for kind, job, _ in self.posts if kind == "done"]


def worker(**env: str) -> Worker:
    return assemble(Settings.from_env({"FAKE_ENGINES": "1", "DEVICE": "cpu", **env}))


@asynccontextmanager
async def running(
    platform: Platform,
    one: Worker,
    slots: int = 4,
    absence: Absence | None = None,
    **limits: Any,
) -> AsyncIterator[tuple[Any, asyncio.Task[None]]]:
    """Our scaler between a platform and a worker, and its run, which the block may end."""
    import_runpod("ERROR")
    from runpod.serverless.modules import rp_http, rp_job

    from handler.doors.queue.scaler import Scaler

    with ExitStack() as stack:
        url = await asyncio.to_thread(stack.enter_context, serve(platform.application()))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(rp_http, "JOB_DONE_URL", f"{url}/done/$ID?")
        patch.setattr(rp_http, "JOB_STREAM_URL", f"{url}/chunk/$ID?")
        patch.setattr(rp_http, "_handle_result", rp_http._handle_result)  # it is put back
        config = {"handler": one.answer, "return_aggregate_stream": True}
        modifier = {"concurrency_modifier": lambda _: slots}
        scaler = Scaler(one, {**config, **modifier}, absence=absence, **limits)
        patch.setattr(rp_job, "JOB_GET_URL", f"{url}/job-take/worker?token=secret")
        scaler.jobs_fetcher, scaler.stop_signals_fetcher = platform.take, platform.stop
        run = asyncio.create_task(scaler.run())
        try:
            await until(lambda: platform.polls)
            yield scaler, run
        finally:
            scaler.kill_worker()
            platform.jobs.put_nowait(None)
            await asyncio.wait_for(run, 10)


async def until(true: Callable[[], Any], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.005)

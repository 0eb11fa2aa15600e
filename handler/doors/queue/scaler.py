"""The SDK's loop, without its pauses.

The SDK looks for work ten times a second, and a second after it was full; a job that it has taken
waits for the next look. Here a job starts as it arrives, in a slot that is free, and a slot that
falls free is asked for at once. Besides, two gaps are closed by which jobs are lost: the poll that
is open at SIGTERM may bring one in, which is run; and a stop that comes before its job starts, or
overtakes it, counts.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any

from aiohttp import ClientResponse, ClientSession
from runpod.http_client import TooManyRequests
from runpod.serverless.modules import rp_http, rp_job, rp_scale

from handler.doors.queue.delivery import Delivery, encoded
from handler.doors.queue.pauses import Pauses, asked_for_s
from handler.doors.watch import LoopWatch
from handler.entry import Worker

log = logging.getLogger(__name__)

_HELD_S = 0.25  # a poll that is answered with nothing sooner was not held open
_REMEMBERED = 1000  # job ids that a late or an early stop may name

# From 2.0 on the SDK waits for events, too, and is woken by its signal handler.
_SDK_WAITS_FOR_EVENTS = hasattr(rp_scale.JobScaler, "_wait_for_dispatch_event")


def replace_scaler(worker: Worker) -> None:
    """Have the SDK use ours."""
    rp_scale.JobScaler = partial(Scaler, worker)


class Scaler(rp_scale.JobScaler):  # type: ignore[misc]
    """Takes jobs, runs them, delivers their results.

    Args:
        worker: answers.
        config: the SDK's; its ``concurrency_modifier`` is a constant.
    """

    def __init__(self, worker: Worker, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.jobs_handler = self._run
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker = worker
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()
        self._deadlines: dict[str, float] = {}
        self._ended, self._stopped_early = _Recent(), _Recent()
        self._delivery = Delivery(self._deadline, self._delivered)
        # Results and chunks alike pass here on their way out.
        rp_http._handle_result = self._send

    async def run(self) -> None:
        """Run until the platform says stop, or the device is lost."""
        self._loop = asyncio.get_running_loop()
        lost = asyncio.create_task(self._stop_when_lost())
        with LoopWatch():
            await super().run()
        lost.cancel()

    async def get_jobs(self, session: ClientSession) -> None:
        """Take jobs until shutdown, then finish those that are left."""
        await self.set_scale()
        pauses = Pauses()
        while free := await self._free_slots():
            start, poll = time.monotonic(), _Poll(session)
            try:
                jobs = await self._take(poll, free)
            except TooManyRequests:
                pause_s = pauses.grow() if poll.wait_s is None else poll.wait_s
                log.info("the platform wants to be asked less; again in %.1f s", pause_s)
                await self._pause(pause_s)
                continue
            # The boundary to the SDK, which raises what it likes for what it does not understand.
            except Exception as error:
                pause_s = pauses.grow()
                log.warning("no job was had (%s); again in %.1f s", type(error).__name__, pause_s)
                await self._pause(pause_s)
                continue
            for job in jobs:
                self._start(session, job)
            if jobs or time.monotonic() - start > _HELD_S:
                pauses.end()
            else:
                await self._pause(pauses.grow())
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._delivery.close()

    async def stop_job(self, job_id: str) -> bool:
        """Stop a job now, or when it arrives; one that has ended needs none."""
        if job_id in self.jobs_tasks:
            stopped: bool = await super().stop_job(job_id)
            return stopped
        if job_id not in self._ended:
            self._stopped_early.add(job_id)
        return False

    async def handle_job(self, session: ClientSession, job: dict[str, Any]) -> None:
        """Run a job; it is in progress until its result is delivered."""
        try:
            await super().handle_job(session, job)
        finally:
            if job["id"] in self._delivery:
                self.job_progress.add(job["id"])

    def kill_worker(self) -> None:
        """Take no more jobs, and end when those that are left have ended."""
        super().kill_worker()
        self._changed.set()

    if not _SDK_WAITS_FOR_EVENTS:

        async def run_jobs(self, session: ClientSession) -> None:
            """Jobs are started where they arrive."""

        def handle_shutdown(self, signum: int, frame: object) -> None:
            """At SIGTERM: a signal by itself does not wake the event loop."""
            if self._loop is None:
                self.kill_worker()
            else:
                self._loop.call_soon_threadsafe(self.kill_worker)

    async def _free_slots(self) -> int:
        """Wait until a job may be taken, and say how many; 0 at shutdown."""
        while self.is_alive():
            self._changed.clear()
            free: int = self.current_concurrency - len(self._tasks)
            if free > 0 and self._delivery.has_room:
                return free
            await self._changed.wait()
        return 0

    async def _take(self, poll: _Poll, count: int) -> list[dict[str, Any]]:
        with suppress(TimeoutError):
            async with asyncio.timeout(self.jobs_fetcher_timeout):
                jobs = await self.jobs_fetcher(poll, count)
                return [job for job in jobs or () if isinstance(job, dict) and "id" in job]
        return []

    def _start(self, session: ClientSession, job: dict[str, Any]) -> None:
        job_id = job["id"]
        self._deadlines[job_id] = time.monotonic() + self._worker.platform_timeout_s(job)
        self._ended.discard(job_id)  # it is retried
        self.job_progress.add(job_id)
        self.jobs_queue.put_nowait(job)
        self.jobs_queue.get_nowait()  # the SDK counts what passed here, and what of it is done
        task = asyncio.create_task(self.handle_job(session, job))
        self._tasks.add(task)
        self.jobs_tasks[job_id] = task
        task.add_done_callback(partial(self._over, job_id))
        if self._stopped_early.discard(job_id):
            task.cancel()

    def _over(self, job_id: str, task: asyncio.Task[None]) -> None:
        """A job's slot is free; one that was stopped before it began has left its traces."""
        self._tasks.discard(task)
        if self.jobs_tasks.get(job_id) is task:
            del self.jobs_tasks[job_id]
        self._ended.add(job_id)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a job could not be handled", exc_info=error, extra={"job_id": job_id})
        self._delivered(job_id)

    def _delivered(self, job_id: str) -> None:
        """A job is no longer in progress, unless it is run or delivered once more."""
        if job_id not in self.jobs_tasks and job_id not in self._delivery:
            self.job_progress.remove(job_id)
            self._deadlines.pop(job_id, None)
        self._changed.set()

    def _deadline(self, job_id: str) -> float:
        return self._deadlines.get(job_id, time.monotonic())

    async def _run(self, session: ClientSession, config: dict[str, Any], raw: Any) -> None:
        """Let a job that streams run as a generator and every other as a coroutine.

        The SDK decides once, by the kind of ``config["handler"]``; a generator's answer then
        arrives as a list even when it is one object. Its own ``handle_job`` does both kinds.
        """
        worker = self._worker
        job = worker.read(raw)
        if not worker.wants_stream(job):
            answer = {**config, "handler": lambda _: worker.answer(job)}
            await rp_job.handle_job(session, answer, raw)
            return

        async def stream(_: object) -> AsyncGenerator[Any, None]:
            async for event in events:
                yield event

        # The SDK leaves a generator open when its job is stopped amid a delivery: the engine would
        # go on until somebody collects the garbage.
        async with aclosing(worker.stream(job)) as events:
            await rp_job.handle_job(session, {**config, "handler": stream}, raw)

    async def _send(
        self,
        session: ClientSession,
        data: Mapping[str, Any],
        job: Mapping[str, Any],
        template: str,
        _message: str,
        is_stream: bool = False,
    ) -> None:
        """Deliver, in place of the SDK's own: a chunk is waited for, a result is not."""
        job_id = job["id"]
        url = f"{template.replace('$ID', job_id)}&isStream={str(is_stream).lower()}"
        if template == rp_http.JOB_DONE_URL and data.get("status") != "IN_PROGRESS":
            self._delivery.result(session, job_id, url, encoded(data))
        else:
            await self._delivery.post(session, job_id, url, encoded(data))

    async def _stop_when_lost(self) -> None:
        """A worker without its device has asked to be replaced; it ends, if it is or not."""
        await self._worker.lost.wait()
        log.error("the device is lost: this worker ends")
        self.kill_worker()

    async def _pause(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._shutdown_event.wait()


class _Poll:
    """A session for one poll, which notes how long the platform wants to be left alone."""

    def __init__(self, session: ClientSession) -> None:
        self.wait_s: float | None = None
        self._session = session

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[ClientResponse]:
        """As aiohttp's."""
        async with self._session.get(url) as response:
            self.wait_s = asked_for_s(response.headers)
            yield response


class _Recent:
    """The job ids of late, the oldest forgotten."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._ids

    def add(self, job_id: str) -> None:
        """Remember an id."""
        self._ids[job_id] = None
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def discard(self, job_id: str) -> bool:
        """Forget an id; says whether it was known."""
        return self._ids.pop(job_id, self) is None

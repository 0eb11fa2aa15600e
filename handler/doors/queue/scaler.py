"""The SDK's loop, without its pauses.

The SDK looks for work ten times a second, and a second after it was full; a job that it has taken
waits for the next look. Here a job starts as it arrives, in a slot that is free, and a slot that
falls free is asked for at once. Besides, two gaps are closed by which jobs are lost: the poll that
is open at SIGTERM may bring one in, which is run; and a stop that comes before its job starts, or
overtakes it, counts. That poll is closed after a few seconds, so that an idle worker ends soon.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession
from runpod.http_client import TooManyRequests
from runpod.serverless.modules import rp_http, rp_job, rp_scale

from handler.doors.queue.backoff import Pauses
from handler.doors.queue.delivery import Delivery, Patience
from handler.doors.queue.polls import Absence, OpenPoll, StopFetcher, StopPolls, TakePoll
from handler.doors.queue.progress import EVERY_S
from handler.doors.queue.runs import Runs
from handler.doors.queue.taken import Recent, Taken
from handler.doors.watch import LoopWatch
from handler.entry import Worker

if TYPE_CHECKING:  # it would bring Prometheus' library, and few workers behind a queue count
    from handler.doors.metrics import Metrics

log = logging.getLogger(__name__)

Measuring = Callable[[], AbstractAsyncContextManager["Metrics | None"]]

_HELD_S, _EMPTY_PAUSE_S = 0.25, 1.0  # a poll that ends sooner was not held; a pause after it
_LAST_POLL_S = 5.0  # after SIGTERM: a container is killed after 10 s
# From 2.0 on the SDK waits for events, too.
_SDK_WAITS_FOR_EVENTS = hasattr(rp_scale.JobScaler, "_wait_for_dispatch_event")


def replace_scaler(worker: Worker, **options: Any) -> None:
    """Have the SDK use a ``Scaler`` with these options."""
    rp_scale.JobScaler = partial(Scaler, worker, **options)


class Scaler(rp_scale.JobScaler):  # type: ignore[misc]
    """Takes jobs, runs them, delivers their results.

    Args:
        worker: answers.
        config: the SDK's; its ``concurrency_modifier`` is a constant.
        measuring: lends what counts jobs while they are taken, or None.
        absence: how long the platform may be away, or refuse this worker, before it ends.
        patience: how long answers are tried.
        last_poll_s: how long the poll that is open at SIGTERM may still bring a job.
        update_every_s: the least time between two updates of a job's progress.
    """

    def __init__(
        self,
        worker: Worker,
        config: dict[str, Any],
        measuring: Measuring = nullcontext,
        absence: Absence | None = None,
        patience: Patience | None = None,
        last_poll_s: float = _LAST_POLL_S,
        update_every_s: float = EVERY_S,
    ) -> None:
        super().__init__(config)
        self._last_poll_s = last_poll_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker = worker
        self._measuring = measuring
        self._tasks: set[asyncio.Task[None]] = set()
        # Those of one id, the newest last: the platform may give a job again that it took for lost.
        self._runs: defaultdict[str, list[asyncio.Task[None]]] = defaultdict(list)
        self._changed = asyncio.Event()
        self._poll = OpenPoll()
        self._drained = asyncio.Event()
        self._ended, self._stopped_early = Recent(), Recent()
        self._numbers: dict[int, str] = {}  # the ids of the jobs in hand, by their runs
        self._is_numbered = False
        self._absence = absence or Absence()
        self._delivery = Delivery(self._delivered, patience)
        self._jobs = Runs(worker, self._delivery, update_every_s)
        self.jobs_handler = self._jobs.run
        # Results and chunks alike pass here on their way out.
        rp_http._handle_result = self._jobs.send

    async def run(self) -> None:
        """Run until the platform says stop, or the device is lost."""
        self._loop = asyncio.get_running_loop()
        lost = asyncio.create_task(self._stop_when_lost())
        async with self._measuring() as self._jobs.metrics:
            with LoopWatch():
                await super().run()
        lost.cancel()

    async def get_jobs(self, session: ClientSession) -> None:
        """Take jobs until shutdown, then finish those that are left."""
        await self.set_scale()
        pauses, empty = Pauses(), Pauses(_EMPTY_PAUSE_S)
        while free := await self._free_slots():
            start = time.monotonic()
            poll = TakePoll(session, list(self._numbers) if self._is_numbered else None)
            try:
                jobs = await self._take(poll, free)
            except TooManyRequests:
                self._absence.end()
                pause_s = max(pauses.grow(), poll.wait_s or 0.0)
                log.info("the platform wants to be asked less; again in %.1f s", pause_s)
                await self._pause(pause_s)
                continue
            # The boundary to the SDK, which raises what it likes for what it does not understand.
            except Exception as error:
                pause_s = pauses.grow()
                log.warning("no job was had (%s); again in %.1f s", type(error).__name__, pause_s)
                self._end_when_forsaken(error)
                await self._pause(pause_s)
                continue
            pauses.end()
            self._absence.end()
            for job in jobs:
                self._start(session, job)
            if jobs or time.monotonic() - start > _HELD_S:
                empty.end()
            else:
                await self._pause(empty.grow())
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._delivery.close()
        self._drained.set()

    async def monitor_stop_signals(self, session: ClientSession) -> None:
        """Poll for stops as the SDK does; the poll, of up to 90 s, does not delay the end."""
        if rp_job._job_stop_url() is not None:
            self.stop_signals_fetcher = StopFetcher(vars(self)["stop_signals_fetcher"])
        stops = asyncio.ensure_future(super().monitor_stop_signals(StopPolls(session)))
        try:
            await self._drained.wait()
        finally:
            stops.cancel()

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
            self._leave(job["id"], asyncio.current_task())

    def kill_worker(self) -> None:
        """Take no more jobs, and end when those that are left have ended."""
        super().kill_worker()
        self._changed.set()
        self._poll.close_in(self._last_poll_s)

    if not _SDK_WAITS_FOR_EVENTS:

        async def run_jobs(self, session: ClientSession) -> None:
            """Jobs are started where they arrive."""

        def handle_shutdown(self, signum: int, frame: object) -> None:
            """At SIGTERM: a signal by itself does not wake the event loop."""
            if self._loop is None:
                self.kill_worker()
            else:
                with suppress(RuntimeError):  # it is closed: the worker has ended
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

    async def _take(self, poll: TakePoll, count: int) -> list[dict[str, Any]]:
        with suppress(TimeoutError):
            async with self._poll.within(self.jobs_fetcher_timeout):
                jobs = await self.jobs_fetcher(poll, count)
                return [job for job in jobs or () if isinstance(job, dict) and "id" in job]
        return []

    def _start(self, session: ClientSession, raw: dict[str, Any]) -> None:
        job, job_id = Taken(raw, self._worker), raw["id"]
        if job.run is not None:
            self._numbers[job.run], self._is_numbered = job_id, True
        self.job_progress.add(job_id)
        self.jobs_queue.put_nowait(job)
        self.jobs_queue.get_nowait()  # the SDK counts what passed here, and what of it is done
        task = asyncio.create_task(self.handle_job(session, job))
        self._tasks.add(task)
        self._runs[job_id].append(task)
        self.jobs_tasks[job_id] = task
        task.add_done_callback(partial(self._over, job_id))
        if self._stopped_early.discard(job_id):
            task.cancel()

    def _over(self, job_id: str, task: asyncio.Task[None]) -> None:
        """Free a job's slot."""
        self._tasks.discard(task)
        self._leave(job_id, task)  # also one that was stopped before it began
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a job could not be handled", exc_info=error, extra={"job_id": job_id})
        self._delivered(job_id)

    def _leave(self, job_id: str, task: asyncio.Task[None] | None) -> None:
        """Forget one run of a job; the SDK has forgotten the others of its id, too."""
        runs = [run for run in self._runs.pop(job_id, ()) if run is not task]
        if runs:
            self._runs[job_id] = runs
            self.jobs_tasks[job_id] = runs[-1]
        else:
            self.jobs_tasks.pop(job_id, None)
            self._ended.add(job_id)
        if runs or job_id in self._delivery:
            self.job_progress.add(job_id)

    def _delivered(self, job_id: str) -> None:
        """Take a job out of those in progress, unless it is run or delivered once more."""
        if job_id not in self._runs and job_id not in self._delivery:
            self.job_progress.remove(job_id)
            self._numbers = {run: one for run, one in self._numbers.items() if one != job_id}
        self._changed.set()

    async def _stop_when_lost(self) -> None:
        """A worker without its device has asked to be replaced; it ends, if it is or not."""
        await self._worker.lost.wait()
        log.error("the device is lost: this worker ends")
        self.kill_worker()
        self._poll.close_in(0)  # what it brought would fail here, and not elsewhere

    def _end_when_forsaken(self, error: Exception) -> None:
        """End a worker that the platform does not know, or that has had none for long."""
        if (reason := self._absence.note(error)) is not None:
            log.error("%s: this worker ends", reason)
            self.kill_worker()

    async def _pause(self, pause_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._shutdown_event.wait()

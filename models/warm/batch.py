"""Group requests into runs, run them on the device, and settle each request.

Each warm batch engine has one ``Batcher``, which owns the engine's device thread. The engine
splits a request into parts. Parts queue while a run is on the device; when it ends, the scheduler
chooses the parts of the next run (``models.warm.scheduler``). There is no batching timer: an idle
device starts at once. A request is answered as soon as its own parts are done.

If the engine allows it (``BatchEngine.express``), short requests do not wait for the end of a long
one's run: a second thread, the express lane, runs them beside it.

Every request is settled exactly once: with its answer, with its own error, or by cancellation. A
run that fails is halved (``models.warm.runner``).

A device is lost after an error that persists, or when a run never returns (``models.warm.watch``).
Pending requests then get the error, and new ones are refused.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from models.engine import BatchEngine
from models.errors import DeviceLost, EngineFailed
from models.warm.feeder import Feeder
from models.warm.lane import Lane
from models.warm.runner import Runner
from models.warm.scheduler import Scheduler
from models.warm.threads import finished
from models.warm.ticket import NEVER, Deadline, Submission, Ticket
from models.warm.watch import HUNG_AFTER_S, RunWatch
from models.work import Unfinished, Work

_SHORT = 1 / 2  # of the work of a long request that runs; one with less may run beside it
_EXPRESS_RUN = 1 / 8  # of the budget: the largest run of the express lane


class Batcher(Feeder):
    """Feeds a batch engine.

    Args:
        engine: the warm engine; ``run`` and ``close`` are called on the device thread only.
        max_jobs: how many requests may share a run; 1 = parts of different requests never mix.
        device: the engine's thread, on which it was loaded; by default a new one.
        on_lost: called once, when the device is lost.
        hung_after_s: how long the engine may be silent after its requests' deadlines.
    """

    _watch: RunWatch

    def __init__(
        self,
        engine: BatchEngine,
        max_jobs: int,
        device: ThreadPoolExecutor | None = None,
        on_lost: Callable[[DeviceLost], None] = lambda _: None,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        super().__init__(engine, device, RunWatch(partial(self._tell, on_lost), hung_after_s))
        self._max_jobs = max_jobs
        self._runner = Runner(engine, self.load)
        self._waiting = Scheduler(packs=engine.packs)
        self._main = Lane(self._device)
        self._express = Lane(ThreadPoolExecutor(1)) if engine.express else None

    async def submit(self, work: Work, deadline: Deadline = NEVER) -> list[Any]:
        """Run the parts and return their outputs; cancelling the caller cancels the work.

        Raises:
            TimeoutError: the work was not done by its deadline.
            DeviceLost: the device is lost.
            QuartetError: a part failed.
        """
        submission = self._enqueue(work, deadline)
        try:
            async with asyncio.timeout(deadline.left_s):
                return await submission.result
        except TimeoutError:
            raise await self._watch.late(submission) from None
        finally:
            submission.cancelled = True

    async def stream(self, work: Work, deadline: Deadline = NEVER) -> AsyncGenerator[Any, None]:
        """Yield the events of the parts as they occur, and the engine's answer last.

        Closing the iterator early cancels the work. Raises what ``submit`` raises.
        """
        submission = self._enqueue(work, deadline)
        events = submission.events = asyncio.Queue()
        try:
            while not (submission.result.done() and events.empty()):
                event = asyncio.ensure_future(events.get())
                try:
                    await asyncio.wait(
                        {event, submission.result},
                        timeout=deadline.left_s,
                        return_when=asyncio.FIRST_COMPLETED,
                    )
                    if event.done():
                        yield event.result()
                    elif not submission.result.done():
                        raise await self._watch.late(submission)
                finally:
                    event.cancel()
            yield await finished(work, submission.result.result())
        finally:
            submission.cancel()

    @property
    def waiting(self) -> int:
        """The number of requests that have parts in the queue."""
        return len({id(ticket.submission) for ticket in self._waiting})

    @property
    def budget(self) -> float:
        """The largest size of a run, padding included; infinite if there is no limit."""
        return self._runner.budget

    def _enqueue(self, work: Work, deadline: Deadline) -> Submission:
        if self._watch.lost is not None:
            raise self._watch.lost
        submission = Submission(work, deadline)
        self._waiting.add(submission.make_tickets())
        self._start(self._main)
        self._start_express()
        return submission

    def _start(self, lane: Lane) -> None:
        lane.start(partial(self._run_all, lane))

    def _start_express(self) -> None:
        if self._express is not None and self._main.longest:
            self._start(self._express)

    async def _run_all(self, lane: Lane) -> None:
        """Run batches while there are parts for the lane."""
        while self._watch.lost is None and (batch := self._take(lane)):
            lane.begin(batch, self.budget)
            self._start_express()
            outcomes = await self._watched(lane, batch)
            lane.end()
            for ticket, outcome in zip(batch, outcomes, strict=True):
                self._settle(ticket, outcome)

    def _take(self, lane: Lane) -> list[Ticket]:
        """Return the next batch of a lane; the express lane's are of short requests."""
        longest = math.inf if lane is self._main else _SHORT * self._main.longest
        share = 1 if lane is self._main else _EXPRESS_RUN
        return self._waiting.take(share * self.budget, self._max_jobs, longest)

    def _settle(self, ticket: Ticket, outcome: object) -> None:
        if isinstance(outcome, Unfinished):
            self._requeue(ticket)
            return
        ticket.submission.settle(ticket.index, outcome)
        if isinstance(outcome, DeviceLost):
            self.lose(outcome)

    def _requeue(self, ticket: Ticket) -> None:
        """Queue an unfinished part again, or fail its request if the device was lost meanwhile."""
        if self._watch.lost is None:
            self._waiting.requeue(ticket)
        else:
            ticket.submission.fail(self._watch.lost)

    async def close(self) -> None:
        """Close the engine once its threads are idle, and free its memory."""
        if self._express is not None and self._watch.lost is None:
            await self._express.close()
        await super().close()

    async def _watched(self, lane: Lane, batch: Sequence[Ticket]) -> Sequence[object]:
        """Run a batch on a lane's thread, and watch that it returns."""
        try:
            end = lane.thread.submit(self._runner.run, batch)
        except RuntimeError:  # the device thread has ended; pending requests still get an error
            stopped = EngineFailed("The engine was stopped before it ran this request.")
            return [stopped] * len(batch)
        with self._watch.run(batch, end):
            return await asyncio.wrap_future(end)

    def _tell(self, on_lost: Callable[[DeviceLost], None], error: DeviceLost) -> None:
        """Report that the device is lost, and fail all queued requests."""
        on_lost(error)
        for ticket in list(self._waiting):
            ticket.submission.fail(error)

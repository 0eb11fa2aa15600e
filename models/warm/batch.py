"""Group requests into runs, run them on the device, and settle each request.

Each warm batch engine has one ``Batcher``, which owns the engine's only device thread. The engine
splits a request into parts. Parts queue while a run is on the device; when it ends, the scheduler
chooses the parts of the next run (``models.warm.scheduler``). There is no batching timer: an idle
device starts at once. A request is answered as soon as its own parts are done.

Every request is settled exactly once: with its answer, with its own error, or by cancellation. A
run that fails is split in halves until the failing part is alone, so that a bad part fails its own
request only. A run that is out of memory also lowers the budget of later runs.

A device is lost after an error that persists, or when a run never returns (``models.warm.watch``).
Pending requests then get the error, and new ones are refused.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from models.device.failures import (
    Failure,
    attempt,
    is_device_lost,
    is_out_of_memory,
    translate,
)
from models.device.memory import Surplus, free_memory
from models.device.rounding import rounded
from models.engine import BatchEngine
from models.errors import DeviceLost, EngineFailed
from models.warm.feeder import Feeder
from models.warm.scheduler import Scheduler
from models.warm.threads import finished
from models.warm.ticket import NEVER, Deadline, Submission, Ticket
from models.warm.watch import HUNG_AFTER_S, RunWatch
from models.work import Unfinished, Work

log = logging.getLogger(__name__)

_REGROWTH = 1.01  # factor by which a lowered budget grows after each large run that succeeds


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
        self._largest: float = engine.budget or math.inf
        self._budget = self._largest
        self._waiting = Scheduler(packs=engine.packs)
        self._surplus = Surplus()
        self._drain: asyncio.Task[None] | None = None

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
        return self._budget

    def _enqueue(self, work: Work, deadline: Deadline) -> Submission:
        if self._watch.lost is not None:
            raise self._watch.lost
        submission = Submission(work, deadline, self._watch.pulse)
        self._waiting.add(submission.make_tickets())
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._run_all())
        return submission

    async def _run_all(self) -> None:
        while self._watch.lost is None and (
            batch := self._waiting.take(self._budget, self._max_jobs)
        ):
            outcomes = await self._watched(batch)
            for ticket, outcome in zip(batch, outcomes, strict=True):
                if isinstance(outcome, Unfinished):
                    self._requeue(ticket)
                    continue
                ticket.submission.settle(ticket.index, outcome)
                if isinstance(outcome, DeviceLost):
                    self.lose(outcome)

    def _requeue(self, ticket: Ticket) -> None:
        """Queue an unfinished part again, or fail its request if the device was lost meanwhile."""
        if self._watch.lost is None:
            self._waiting.requeue(ticket)
        else:
            ticket.submission.fail(self._watch.lost)

    async def _watched(self, batch: Sequence[Ticket]) -> Sequence[object]:
        """Run a batch on the device thread, and watch that it returns."""
        try:
            end = self._device.submit(self._run, batch)
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

    def _run(self, batch: Sequence[Ticket]) -> list[object]:
        """Run on the device thread; never raises, returns one outcome per ticket."""
        if not batch:
            return []
        if len(batch) > 1 and self._size(batch) > self._budget:  # lowered since the run was chosen
            return self._halves(batch)
        outcomes, failure = self._try(batch)
        if failure is not None and is_out_of_memory(failure):
            self._back_off(batch)
            # Retry once, now that memory is free. A part that has emitted events must not repeat.
            if len(batch) == 1 and not batch[0].emitted:
                outcomes, failure = self._try(batch)
        if failure is None:
            return outcomes
        if len(batch) == 1 or is_device_lost(failure):
            return [translate(failure)] * len(batch)
        return self._run_halves(batch, failure)

    def _run_halves(self, batch: Sequence[Ticket], failure: BaseException) -> list[object]:
        """Run the halves of a failed batch; parts that have emitted events fail at once."""
        log.warning("a run of %d failed (%s); halving it", len(batch), type(failure).__name__)
        begun = {ticket for ticket in batch if ticket.emitted}
        others = [ticket for ticket in batch if ticket not in begun]
        outcomes = iter(self._run(others) if len(others) < 2 else self._halves(others))
        return [translate(failure) if ticket in begun else next(outcomes) for ticket in batch]

    def _halves(self, batch: Sequence[Ticket]) -> list[object]:
        middle = len(batch) // 2
        return self._run(batch[:middle]) + self._run(batch[middle:])

    def _try(self, batch: Sequence[Ticket]) -> tuple[list[object], BaseException | None]:
        if all(ticket.unwanted for ticket in batch):
            return [None] * len(batch), None
        outputs = attempt(lambda: _checked(self._engine.run(batch), len(batch)))
        self._watch.pulse.beat()
        self._surplus.look()
        if isinstance(outputs, Failure):
            return [], outputs.error
        self._count(batch)
        if self._size(batch) > self._budget / 2:  # a small run is no evidence about large ones
            self._budget = min(self._largest, self._budget * _REGROWTH)
        return [translate(o) if isinstance(o, BaseException) else o for o in outputs], None

    def _back_off(self, batch: Sequence[Ticket]) -> None:
        """Free memory after a run was out of memory, and halve the budget.

        A single part does not lower the budget: it runs alone under any budget.
        """
        free_memory()  # called here, where no traceback holds the tensors any more
        if len(batch) > 1:
            self._budget = max(1, min(self._budget, self._size(batch) // 2))
            log.warning("out of memory; a run now holds at most %d", self._budget)

    def _size(self, batch: Sequence[Ticket]) -> int:
        """The batch's size in the budget's unit, padding included."""
        sizes = [ticket.size for ticket in batch]
        return sum(sizes) if self._engine.packs else len(sizes) * max(sizes)

    def _count(self, batch: Sequence[Ticket]) -> None:
        size = self._size(batch)
        padded = rounded(size) if self._engine.rounds else size
        self.load.add(sum(ticket.size for ticket in batch), padded)


def _checked(outputs: Sequence[object], expected: int) -> Sequence[object]:
    if len(outputs) != expected:
        raise EngineFailed(f"the engine returned {len(outputs)} outputs for {expected} requests")
    return outputs

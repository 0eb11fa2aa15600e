"""A request on the device: its parts, its outputs, and the events on the way there."""

from __future__ import annotations

import asyncio
from typing import Any

from models.surface import Work


class Job:
    """One request on the device: its parts, its future outputs, and the events on the way there."""

    def __init__(self, work: Work) -> None:
        sizes = work.sizes or (1,) * len(work.parts)
        self.tickets = [
            Ticket(self, index, part, size, work.kind)
            for index, (part, size) in enumerate(zip(work.parts, sizes, strict=True))
        ]
        self.cancelled = False
        self.emitted = False
        self.loop = asyncio.get_running_loop()
        self.result: asyncio.Future[list[Any]] = self.loop.create_future()
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self._outputs: list[Any] = [None] * len(self.tickets)
        self._left = len(self.tickets)
        if not self._left:
            self.result.set_result([])

    def cancel(self) -> None:
        """Nobody waits any more: the engine stops at its next look at ``cancelled``."""
        self.cancelled = True
        self.result.cancel()

    def settle(self, index: int, outcome: object) -> None:
        """Note the output of one part; the last one, or an error, settles the request."""
        if self.result.done():
            return
        if isinstance(outcome, BaseException):
            self.cancelled = True  # what is left of it would run for nobody
            self.result.set_exception(outcome)
            return
        self._outputs[index] = outcome
        self._left -= 1
        if not self._left:
            self.result.set_result(self._outputs)


class Ticket:
    """One part of a request, as the engine sees it."""

    __slots__ = ("index", "item", "job", "kind", "size", "taken")

    def __init__(self, job: Job, index: int, item: Any, size: int, kind: Any) -> None:
        self.job = job
        self.index = index
        self.item = item
        self.size = size
        self.kind = kind
        self.taken = False

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its request any more."""
        return self.job.cancelled

    def emit(self, event: object) -> None:
        """Hand an event to whoever streams the request; called from the device thread."""
        job = self.job
        if job.cancelled:  # nobody listens, and the loop itself may be gone
            return
        job.emitted = True
        job.loop.call_soon_threadsafe(job.events.put_nowait, event)

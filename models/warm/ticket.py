"""A request on the device: its parts, its outputs, and the events on the way there."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any

from models.work import Work


@dataclass(frozen=True)
class Deadline:
    """When a request is too late.

    Attributes:
        at: by ``time.monotonic``; from then on the engine is to let go of it.
        grace_s: how long it may take to; a device that takes longer is hung.
    """

    at: float = math.inf
    grace_s: float = math.inf

    @property
    def left_s(self) -> float | None:
        """Seconds until then; None where there is none."""
        return None if math.isinf(self.at) else max(0.0, self.at - time.monotonic())


NEVER = Deadline()


class Pulse:
    """A device's signs of life: its engine looks at a ticket, or emits, at every step."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.longest_s = 0.0

    def start(self) -> None:
        """A run begins."""
        self.last = time.monotonic()

    def beat(self) -> None:
        """A sign of life; called from the device thread."""
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - self.last)
        self.last = now


class Submission:
    """One request on the device: its parts, its future outputs, and the events on the way there.

    Attributes:
        total: what it takes in all.
        sliced: whether its parts are run in slices.
        events: those on the way to who reads them, None where nobody does.
    """

    def __init__(self, work: Work, deadline: Deadline = NEVER, pulse: Pulse | None = None) -> None:
        sizes = work.sizes or (1,) * len(work.parts)
        self._work, self._sizes = work, sizes
        self.sliced = work.total is not None
        self.total = sum(sizes) if work.total is None else work.total
        self.deadline = deadline
        self.pulse = pulse or Pulse()
        self.cancelled = False
        self.loop = asyncio.get_running_loop()
        self.result: asyncio.Future[list[Any]] = self.loop.create_future()
        self.events: asyncio.Queue[Any] | None = None
        self._outputs: list[Any] = [None] * len(work.parts)
        self._left = len(work.parts)
        if not self._left:
            self.result.set_result([])

    def make_tickets(self) -> list[Ticket]:
        """Return its parts as the engine sees them.

        A ticket holds its submission. A submission that held its tickets would be a cycle with
        them, and keep what they are made of (minutes of sound, an open file) until a full garbage
        collection.
        """
        parts = zip(self._work.parts, self._sizes, strict=True)
        return [
            Ticket(self, index, part, size, self._work.kind)
            for index, (part, size) in enumerate(parts)
        ]

    def cancel(self) -> None:
        """Nobody waits any more: the engine stops at its next look at ``cancelled``."""
        self.cancelled = True
        self.result.cancel()

    def settle(self, index: int, outcome: object) -> None:
        """Note the output of one part; the last one, or an error, settles the request."""
        if self.result.done():
            return
        if isinstance(outcome, BaseException):
            self.fail(outcome)
            return
        self._outputs[index] = outcome
        self._left -= 1
        if not self._left:
            self.result.set_result(self._outputs)

    def fail(self, error: BaseException) -> None:
        """Settle the request with an error; what is left of it would run for nobody."""
        self.cancelled = True
        if not self.result.done():
            self.result.set_exception(error)


class Ticket:
    """One part of a request, as the engine sees it."""

    __slots__ = (
        "emitted",
        "index",
        "item",
        "kind",
        "number",
        "size",
        "submission",
        "taken",
        "turn",
    )

    def __init__(self, submission: Submission, index: int, item: Any, size: int, kind: Any) -> None:
        self.submission = submission
        self.index = index
        self.item = item
        self.size = size
        self.kind = kind
        self.taken = False
        self.turn = self.number = 0
        self.emitted = False

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for its request any more; an engine that looks is alive."""
        self.submission.pulse.beat()
        return self.submission.cancelled

    @property
    def unwanted(self) -> bool:
        """The same for everybody else."""
        return self.submission.cancelled

    def emit(self, event: object, *, lasting: bool = True) -> None:
        """Hand an event to whoever streams the request; called from the device thread.

        After a ``lasting`` one the part cannot begin again.
        """
        submission = self.submission
        submission.pulse.beat()
        if submission.cancelled or submission.events is None:
            return  # nobody listens, and the loop itself may be gone
        self.emitted = self.emitted or lasting
        submission.loop.call_soon_threadsafe(submission.events.put_nowait, event)

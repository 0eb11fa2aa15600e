"""A request on the device: its parts, their outputs and its events."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Any

from models.work import Work


@dataclass(frozen=True)
class Deadline:
    """The time by which a request must be done.

    Attributes:
        at: in seconds of ``time.monotonic``; the engine must release the request then.
        grace_s: how long the release may take; a device that takes longer is hung.
    """

    at: float = math.inf
    grace_s: float = math.inf

    @property
    def left_s(self) -> float | None:
        """Seconds until the deadline, at least 0; None if there is no deadline."""
        return None if math.isinf(self.at) else max(0.0, self.at - time.monotonic())


NEVER = Deadline()


class Pulse:
    """The heartbeat of a run: its engine reads ``cancelled`` or emits an event at every step."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.longest_s = 0.0

    def start(self) -> None:
        """Note that a run begins."""
        self.last = time.monotonic()

    def beat(self) -> None:
        """Note a heartbeat; called from the device thread."""
        now = time.monotonic()
        self.longest_s = max(self.longest_s, now - self.last)
        self.last = now


class Submission:
    """One request on the device: its parts, their outputs and its events.

    Attributes:
        total: all its work; requests with less go first.
        sliced: whether its parts run in slices.
        left: how many of its parts have no output yet.
        events: the queue of a streamed request's events; None if the request is not streamed.
    """

    def __init__(self, work: Work, deadline: Deadline = NEVER) -> None:
        sizes = work.sizes or (1,) * len(work.parts)
        self._work, self._sizes = work, sizes
        self.sliced = work.sliced
        self.total = sum(sizes) if work.total is None else work.total
        self.deadline = deadline
        self.cancelled = False
        self.loop = asyncio.get_running_loop()
        self.result: asyncio.Future[list[Any]] = self.loop.create_future()
        self.events: asyncio.Queue[Any] | None = None
        self._outputs: list[Any] = [None] * len(work.parts)
        self.left = len(work.parts)
        if not self.left:
            self.result.set_result([])

    def make_tickets(self) -> list[Ticket]:
        """Return the request's parts as the engine sees them.

        A ticket refers to its submission, but not the reverse: a reference cycle would keep the
        parts' data (minutes of sound, an open file) until a full garbage collection.
        """
        parts = zip(self._work.parts, self._sizes, strict=True)
        # A slice is as much work as its size.
        rate = 1 if self.sliced else self.total / max(1, sum(self._sizes))
        return [
            Ticket(self, index, part, size, self._work.kind, size * rate)
            for index, (part, size) in enumerate(parts)
        ]

    def cancel(self) -> None:
        """Cancel the request: the engine stops when it next reads ``cancelled``."""
        self.cancelled = True
        self.result.cancel()

    def settle(self, index: int, outcome: object) -> None:
        """Store the output of one part; the last output, or an error, settles the request."""
        if self.result.done():
            return
        if isinstance(outcome, BaseException):
            self.fail(outcome)
            return
        self._outputs[index] = outcome
        self.left -= 1
        if not self.left:
            self.result.set_result(self._outputs)

    def fail(self, error: BaseException) -> None:
        """Settle the request with an error, and cancel its remaining parts."""
        self.cancelled = True
        if not self.result.done():
            self.result.set_exception(error)


class Ticket:
    """One part of a request, as the engine sees it.

    Attributes:
        size: in the unit of the engine's budget.
        effort: its share of the request's work, or that of its next slice.
        pulse: the heartbeat of its run.
    """

    __slots__ = (
        "effort",
        "emitted",
        "index",
        "item",
        "kind",
        "number",
        "pulse",
        "size",
        "submission",
        "taken",
        "turn",
    )

    def __init__(
        self, submission: Submission, index: int, item: Any, size: int, kind: Any, effort: float
    ) -> None:
        self.submission = submission
        self.index = index
        self.item = item
        self.size = size
        self.effort = effort
        self.kind = kind
        self.taken = False
        self.turn = 0.0
        self.number = 0
        self.emitted = False
        self.pulse = Pulse()

    @property
    def cancelled(self) -> bool:
        """Whether the request is cancelled; reading this counts as the engine's heartbeat."""
        self.pulse.beat()
        return self.submission.cancelled

    @property
    def unwanted(self) -> bool:
        """Whether the request is cancelled; reading this is no heartbeat."""
        return self.submission.cancelled

    def emit(self, event: object, *, lasting: bool = True) -> None:
        """Queue an event for the reader of the stream; called from the device thread.

        After a ``lasting`` event the part cannot start again.
        """
        self.pulse.beat()
        submission = self.submission
        if submission.cancelled or submission.events is None:
            return  # the request has no reader, and its event loop may be closed
        self.emitted = self.emitted or lasting
        submission.loop.call_soon_threadsafe(submission.events.put_nowait, event)

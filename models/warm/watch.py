"""Watching over a device: is it there, and does it come back?

The thread of a hung device cannot be asked, so that its runs are watched from the event loop. When
the last deadline of a run's requests has passed, its engine is told to stop. A device is lost that
has not come back when it should have, and whose engine has given no sign of life for long: for how
long is the operator's, not the client's who sent the deadline, and more where the engine has been
silent for as long before.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from models.errors import DeviceLost
from models.warm.ticket import Pulse, Submission, Ticket

log = logging.getLogger(__name__)

HUNG_AFTER_S = 60.0
_LONG_STEPS = 2  # an engine that was silent for so many of its longest steps is hung
_TURN_S = 0.1  # for the event loop to get round
_LATE_S = 1.0  # a look that is later than this says that the whole process stood still
HUNG = (
    "The device did not come back from this run and is taken for hung; the worker restarts. Send "
    "the request again."
)


@dataclass(frozen=True)
class Run:
    """What is on the device.

    Attributes:
        submissions: whose parts.
        until: their last deadline, and ``grace_s`` what they allow beyond it.
        over: set when it is, or the device is lost.
    """

    submissions: Sequence[Submission]
    until: float
    grace_s: float
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, batch: Sequence[Ticket]) -> Run:
        """The run of these tickets."""
        submissions = list({id(ticket.submission): ticket.submission for ticket in batch}.values())
        last = max((submission.deadline for submission in submissions), key=lambda one: one.at)
        return cls(submissions, last.at, last.grace_s)


class DeviceWatch:
    """What is known of one device.

    Args:
        on_lost: called once, when the device is lost.
        hung_after_s: how long its engine may be silent, when it should have come back.

    Attributes:
        lost: why no run can be had any more; None while the device is well.
        pulse: the signs of life that its engine gives.
    """

    def __init__(
        self, on_lost: Callable[[DeviceLost], None], hung_after_s: float = HUNG_AFTER_S
    ) -> None:
        self.lost: DeviceLost | None = None
        self.pulse = Pulse()
        self._on_lost = on_lost
        self._hung_after_s = hung_after_s

    @property
    def patience_s(self) -> float:
        """How long its engine may be silent."""
        return max(self._hung_after_s, _LONG_STEPS * self.pulse.longest_s)

    def lose(self, error: DeviceLost) -> None:
        """Give the device up: nobody is let in any more."""
        if self.lost is None:
            log.error("the device is lost: %s", error.message)
            self.lost = error
            self._on_lost(error)

    def expect(self, over: Callable[[], bool], by: float) -> Expectation:
        """Lose the device if it is not ``over`` by then, unless its engine gives signs of life."""
        return Expectation(self, over, by)


class Expectation:
    """Looks, when it may be told, whether something is over that a device was to do."""

    def __init__(self, watch: DeviceWatch, over: Callable[[], bool], by: float) -> None:
        self._watch = watch
        self._over = over
        self._by = by
        self._timer: asyncio.TimerHandle | None = None
        self._look(time.monotonic())

    def cancel(self) -> None:
        """It is over: look no more, and keep nothing of it."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, due: float) -> None:
        watch, now = self._watch, time.monotonic()
        if watch.lost is not None or self._over():
            return
        if now - due > _LATE_S:  # so did the device's thread, perhaps
            watch.pulse.start()
        at = max(self._by, watch.pulse.last + watch.patience_s)
        if at > now:
            self._timer = asyncio.get_running_loop().call_later(at - now, self._look, at)
        else:
            watch.lose(DeviceLost(HUNG))


class RunWatch(DeviceWatch):
    """Watches the runs of one device; arguments are those of ``DeviceWatch``."""

    def __init__(
        self, on_lost: Callable[[DeviceLost], None], hung_after_s: float = HUNG_AFTER_S
    ) -> None:
        super().__init__(on_lost, hung_after_s)
        self._current: Run | None = None

    @contextmanager
    def run(self, batch: Sequence[Ticket], end: Future[Any]) -> Iterator[None]:
        """Watch over a run, which the block waits for; ``end`` is what the device's thread does."""
        current = self._current = Run.of(batch)
        self.pulse.start()
        timed = not math.isinf(current.until)
        expected = self.expect(end.done, current.until + current.grace_s) if timed else None
        try:
            yield
        finally:
            current.over.set()
            self._current = None
            if expected is not None:  # its timer would keep the run, and all that hangs on it
                expected.cancel()

    def lose(self, error: DeviceLost) -> None:
        """Give the device up; who is on it hears of it, too."""
        super().lose(error)
        if self._current is not None:
            for submission in self._current.submissions:
                submission.fail(error)
            self._current.over.set()

    async def late(self, submission: Submission) -> Exception:
        """What a request is told whose deadline has passed: is it slow, or the device hung?"""
        submission.cancelled = True
        run = self._current
        if run is not None and submission in run.submissions and run.until <= time.monotonic():
            with suppress(TimeoutError):
                async with asyncio.timeout(submission.deadline.grace_s + _TURN_S):
                    await run.over.wait()
        return self.lost or TimeoutError()

"""Detect a device that is lost or hung.

The thread of a hung device does not respond, so the event loop watches its runs. When the last
deadline of a run's requests has passed, the engine is told to stop. The device is lost if the run
has still not ended after the grace period, and the engine has sent no heartbeat for
``hung_after_s``. The operator sets this time, and not the client, who sets the deadline. It is
extended for an engine that has had longer steps before.
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
_LONG_STEPS = 2  # an engine that is silent for this many of its longest steps is hung
_TURN_S = 0.1  # lets the event loop run pending callbacks
_LATE_S = 1.0  # a check that is later than this shows that the whole process was stopped
HUNG = (
    "The device did not come back from this run and is taken for hung; the worker restarts. Send "
    "the request again."
)


@dataclass(frozen=True)
class Run:
    """The run that is on the device.

    Attributes:
        submissions: the requests whose parts it contains.
        pulse: its heartbeat.
        until: their last deadline, in seconds of ``time.monotonic``.
        grace_s: the grace period of that deadline.
        over: set when the run has ended or the device is lost.
    """

    submissions: Sequence[Submission]
    pulse: Pulse
    until: float
    grace_s: float
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, batch: Sequence[Ticket]) -> Run:
        """Return the run of these tickets."""
        submissions = list({id(ticket.submission): ticket.submission for ticket in batch}.values())
        last = max((submission.deadline for submission in submissions), key=lambda due: due.at)
        pulse = Pulse()
        for ticket in batch:
            ticket.pulse = pulse
        return cls(submissions, pulse, last.at, last.grace_s)


class DeviceWatch:
    """The state of one device.

    Args:
        on_lost: called once, when the device is lost.
        hung_after_s: how long its engine may be silent after it should have returned.

    Attributes:
        lost: the error of every later request; None while the device works.
        pulse: its engine's heartbeat.
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
        """How long the engine may be silent, in seconds."""
        return max(self._hung_after_s, _LONG_STEPS * self.pulse.longest_s)

    def lose(self, error: DeviceLost) -> None:
        """Mark the device as lost; later requests are refused."""
        if self.lost is None:
            log.error("the device is lost: %s", error.message)
            self.lost = error
            self._on_lost(error)

    def expect(
        self, over: Callable[[], bool], by: float, pulse: Pulse | None = None
    ) -> Expectation:
        """Lose the device if ``over`` is false at ``by`` and there is no heartbeat.

        Args:
            over: whether the device has finished what it was to do.
            by: when it should have, in seconds of ``time.monotonic``.
            pulse: the heartbeat; None = the engine's.
        """
        return Expectation(self, over, by, pulse or self.pulse)


class Expectation:
    """Checks at the due time whether the device has finished what it was to do."""

    def __init__(
        self, watch: DeviceWatch, over: Callable[[], bool], by: float, pulse: Pulse
    ) -> None:
        self._watch = watch
        self._pulse = pulse
        self._over = over
        self._by = by
        self._timer: asyncio.TimerHandle | None = None
        self._look(time.monotonic())

    def cancel(self) -> None:
        """Stop checking, and release the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self, due: float) -> None:
        watch, now = self._watch, time.monotonic()
        if watch.lost is not None or self._over():
            return
        if now - due > _LATE_S:  # the device's thread may have been stopped, too
            self._pulse.start()
        at = max(self._by, self._pulse.last + watch.patience_s)
        if at > now:
            self._timer = asyncio.get_running_loop().call_later(at - now, self._look, at)
        else:
            watch.lose(DeviceLost(HUNG))


class RunWatch(DeviceWatch):
    """Watches the runs of one device; takes the arguments of ``DeviceWatch``.

    Each run has a heartbeat of its own: one that goes on says nothing about another that hangs.
    """

    def __init__(
        self, on_lost: Callable[[DeviceLost], None], hung_after_s: float = HUNG_AFTER_S
    ) -> None:
        super().__init__(on_lost, hung_after_s)
        self._current: list[Run] = []

    @property
    def patience_s(self) -> float:
        """How long a run may be silent, in seconds."""
        longest_s = max(run.pulse.longest_s for run in self._current) if self._current else 0.0
        return max(super().patience_s, _LONG_STEPS * longest_s)

    @contextmanager
    def run(self, batch: Sequence[Ticket], end: Future[Any]) -> Iterator[None]:
        """Watch a run while the block waits for it; ``end`` is its thread's future."""
        current = Run.of(batch)
        self._current.append(current)
        timed = not math.isinf(current.until)
        due = current.until + current.grace_s
        expected = self.expect(end.done, due, current.pulse) if timed else None
        try:
            yield
        finally:
            current.over.set()
            self._current.remove(current)
            self.pulse.longest_s = max(self.pulse.longest_s, current.pulse.longest_s)
            if expected is not None:  # its timer would keep the run and its data alive
                expected.cancel()

    def lose(self, error: DeviceLost) -> None:
        """Mark the device as lost, and fail the requests of the current runs."""
        super().lose(error)
        for run in self._current:
            for submission in run.submissions:
                submission.fail(error)
            run.over.set()

    async def late(self, submission: Submission) -> Exception:
        """Return the error of a request past its deadline: a timeout, or the lost device."""
        submission.cancelled = True
        for run in [run for run in self._current if submission in run.submissions]:
            if run.until <= time.monotonic():
                with suppress(TimeoutError):
                    async with asyncio.timeout(submission.deadline.grace_s + _TURN_S):
                        await run.over.wait()
        return self.lost or TimeoutError()

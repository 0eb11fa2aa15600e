"""Watching over a device: is it there, and does it come back?

The thread of a hung device cannot be asked, so that its runs are watched from the event loop. When
the last deadline of a run's requests has passed, its engine is told to stop and has a while for it,
longer where its steps have been long. A device that does not come back then is lost.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from models.errors import DeviceLost
from models.warm.ticket import Job, Pulse, Ticket

log = logging.getLogger(__name__)

LONG_STEPS = 2  # an engine that was silent for so many of its longest steps is hung
_TURN_S = 0.1  # for the event loop to get round
HUNG = (
    "The device did not come back from this run and is taken for hung; the worker restarts. Send "
    "the request again."
)


@dataclass
class Load:
    """What a device has done: runs, and their sizes without and with padding."""

    runs: int = 0
    size: int = 0
    padded_size: int = 0

    def add(self, size: int, padded_size: int) -> None:
        """Count one more run."""
        self.runs += 1
        self.size += size
        self.padded_size += padded_size


@dataclass(frozen=True)
class Run:
    """What is on the device.

    Attributes:
        jobs: whose parts.
        until: their last deadline, and ``grace_s`` what they allow beyond it.
        over: set when it is, or the device is lost.
    """

    jobs: Sequence[Job]
    until: float
    grace_s: float
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(cls, batch: Sequence[Ticket]) -> Run:
        """The run of these tickets."""
        jobs = list({id(ticket.job): ticket.job for ticket in batch}.values())
        last = max((job.deadline for job in jobs), key=lambda one: one.at)
        return cls(jobs, last.at, last.grace_s)


class DeviceWatch:
    """What is known of one device.

    Args:
        on_lost: called once, when the device is lost.

    Attributes:
        lost: why no run can be had any more; None while the device is well.
        pulse: the signs of life that its engine gives.
    """

    def __init__(self, on_lost: Callable[[DeviceLost], None]) -> None:
        self.lost: DeviceLost | None = None
        self.pulse = Pulse()
        self._on_lost = on_lost

    def lose(self, error: DeviceLost) -> None:
        """Give the device up: nobody is let in any more."""
        if self.lost is None:
            log.error("the device is lost: %s", error.message)
            self.lost = error
            self._on_lost(error)


class RunWatch(DeviceWatch):
    """Watches the runs of one device; arguments are those of ``DeviceWatch``."""

    def __init__(self, on_lost: Callable[[DeviceLost], None]) -> None:
        super().__init__(on_lost)
        self._current: Run | None = None
        self._next_look: asyncio.TimerHandle | None = None

    @contextmanager
    def run(self, batch: Sequence[Ticket]) -> Iterator[None]:
        """Watch over a run, which the block waits for."""
        current = self._current = Run.of(batch)
        self.pulse.start()
        self._look(current)
        try:
            yield
        finally:
            current.over.set()
            self._current = None
            if self._next_look is not None:  # it would keep the run, and all that hangs on it
                self._next_look.cancel()

    def lose(self, error: DeviceLost) -> None:
        """Give the device up; who is on it hears of it, too."""
        super().lose(error)
        if self._current is not None:
            for job in self._current.jobs:
                job.fail(error)
            self._current.over.set()

    async def late(self, job: Job) -> Exception:
        """What a request is told whose deadline has passed: is it slow, or the device hung?"""
        job.cancelled = True
        run = self._current
        if run is not None and job in run.jobs and run.until <= time.monotonic():
            with suppress(TimeoutError):
                async with asyncio.timeout(job.deadline.grace_s + _TURN_S):
                    await run.over.wait()
        return self.lost or TimeoutError()

    def _look(self, run: Run) -> None:
        """Lose the device if it is hung, else look again when it may be."""
        if math.isinf(run.until):
            return
        silence_s = max(run.grace_s, LONG_STEPS * self.pulse.longest_s)
        left_s = max(run.until + run.grace_s, self.pulse.last + silence_s) - time.monotonic()
        if left_s > 0:
            loop = asyncio.get_running_loop()
            self._next_look = loop.call_later(left_s, self._look, run)
            return
        self.lose(DeviceLost(HUNG))

"""The time limit of a job: the platform's timeout, less the time to let go of the device."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from handler.errors import JobTimeout
from models.warm.ticket import Deadline

_MARGIN = 0.05  # of the platform's timeout, kept for telling the client what happened
_MIN_MARGIN_S = 2.0
# How it is spent: the engine lets go of the device, everything else ends; the rest is for the way
# to the platform.
_GRACE, _HARD = 0.375, 0.5


@dataclass(frozen=True)
class Limits:
    """When what a job does is stopped; times are those of ``time.monotonic``.

    Attributes:
        timeout_s: how long it has.
        device: when what it runs on the device is.
        hard: when everything else is.
    """

    timeout_s: float
    device: Deadline
    hard: float

    @classmethod
    def of(cls, platform_timeout_s: float, start: float) -> Self:
        """The limits of a job that began at ``start``."""
        margin_s = max(_MIN_MARGIN_S, _MARGIN * platform_timeout_s)
        timeout_s = platform_timeout_s - margin_s
        soft = start + timeout_s
        return cls(timeout_s, Deadline(soft, _GRACE * margin_s), soft + _HARD * margin_s)

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[None]:
        """Stop the block when the job's time is over.

        Raises:
            JobTimeout: it is.
        """
        late = JobTimeout(
            f"The job was not done within {self.timeout_s:.0f} s and was stopped. Ask for less at "
            "once, or raise the endpoint's execution timeout and JOB_TIMEOUT_S."
        )
        now = time.monotonic()
        if now >= self.device.at:  # a timeout fires only where the block waits, and it may never
            raise late
        try:
            async with asyncio.timeout(self.hard - now) as scope:
                yield
        except TimeoutError:
            if not scope.expired() and time.monotonic() < self.device.at:
                raise
            raise late from None

"""A loaded model, and a lease of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any

from models.engine import BatchEngine, Engine, StepEngine
from models.errors import DeviceLost
from models.row import Row
from models.stages import Recorder
from models.warm.batch import Batcher
from models.warm.load import Load
from models.warm.steps import Steps
from models.warm.threads import finished, in_thread
from models.warm.ticket import NEVER, Deadline
from models.work import Work


class Warm:
    """A loaded model: its engine, and the feeder that runs its requests.

    Attributes:
        start: the time that each stage of its start took.
    """

    def __init__(
        self,
        row: Row,
        engine: Engine,
        max_jobs: int,
        device: ThreadPoolExecutor,
        on_lost: Callable[[DeviceLost], None],
        hung_after_s: float,
        start: Recorder | None = None,
    ) -> None:
        self.row = row
        self.engine = engine
        self.start = start or Recorder()
        self._max_jobs = max_jobs
        self._feeder: Batcher | Steps
        if isinstance(engine, StepEngine):
            self._feeder = Steps(engine, device, on_lost, hung_after_s)
        elif isinstance(engine, BatchEngine):
            self._feeder = Batcher(engine, max_jobs, device, on_lost, hung_after_s)
        else:
            raise TypeError(f"{type(engine).__name__} is neither a BatchEngine nor a StepEngine")
        slow = engine.prepare_in_thread
        self._prepare = partial(in_thread, engine.prepare) if slow else engine.prepare

    async def run(self, request: Any, deadline: Deadline = NEVER) -> Any:
        """Prepare, run and finish one request; return the engine's answer."""
        if not isinstance(self._feeder, Batcher):
            return [event async for event in self.stream(request, deadline)][-1]
        work: Work = await self._prepare(request)
        outputs = await self._feeder.submit(work, deadline)
        return await finished(work, outputs)

    async def stream(self, request: Any, deadline: Deadline = NEVER) -> AsyncGenerator[Any, None]:
        """Prepare and run one request; yield the engine's events, and its output last."""
        events = self._feeder.stream(await self._prepare(request), deadline)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    @property
    def waiting(self) -> int:
        """The number of requests that wait for the device."""
        return self._feeder.waiting

    @property
    def load(self) -> Load:
        """Counts of the device's runs so far."""
        return self._feeder.load

    @property
    def budget(self) -> float:
        """The largest size of a run at present, padding included; infinite if there is no limit."""
        return self._feeder.budget

    @property
    def capacity(self) -> int:
        """The number of requests of usual size that a run holds."""
        return min(self.engine.capacity, self._max_jobs)

    @property
    def busy(self) -> int:
        """The number of requests that keep the device busy, those in preparation included.

        A batch engine needs two runs' worth. A step engine needs one more than its capacity: it
        admits a new request at any step.
        """
        return 2 * self.capacity if isinstance(self._feeder, Batcher) else self.capacity + 1

    def lose(self, error: DeviceLost) -> None:
        """Mark the device as lost: pending requests get the error, and new ones are refused."""
        self._feeder.lose(error)

    def sleep(self) -> asyncio.Future[bool]:
        """Put the idle engine to sleep; the result says whether it sleeps."""
        return self._feeder.sleep()

    def wake(self) -> asyncio.Future[bool]:
        """Wake the engine; the result says whether it is awake."""
        return self._feeder.wake()

    async def close(self) -> None:
        """Close the engine once its device is idle, and free its memory."""
        await self._feeder.close()


@dataclass(frozen=True)
class Borrowed:
    """A lease of a warm model, with the borrower's deadline.

    Attributes:
        warm: the model.
        deadline: applies to every request that the borrower runs.
    """

    warm: Warm
    deadline: Deadline

    @property
    def engine(self) -> Any:
        """The engine itself, for work that needs no device."""
        return self.warm.engine

    async def run(self, request: Any) -> Any:
        """Answer one request.

        Raises:
            TimeoutError: the request was not done by the deadline.
            QuartetError: the request failed.
        """
        return await self.warm.run(request, self.deadline)

    async def stream(self, request: Any) -> AsyncGenerator[Any, None]:
        """Answer one request; yield the engine's events, and its output last."""
        async with aclosing(self.warm.stream(request, self.deadline)) as events:
            async for event in events:
                yield event

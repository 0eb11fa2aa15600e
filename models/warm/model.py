"""A loaded model, and how one is borrowed."""

from __future__ import annotations

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
    """A loaded model: its engine, and the one way to run it.

    Attributes:
        start: what its start has spent its time on.
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
        """Prepare, run and finish one request; returns the engine's answer."""
        if not isinstance(self._feeder, Batcher):
            return [event async for event in self.stream(request, deadline)][-1]
        work: Work = await self._prepare(request)
        outputs = await self._feeder.submit(work, deadline)
        return await finished(work, outputs)

    async def stream(self, request: Any, deadline: Deadline = NEVER) -> AsyncGenerator[Any, None]:
        """Prepare and run one request, yielding the engine's events and its output last."""
        events = self._feeder.stream(await self._prepare(request), deadline)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    @property
    def waiting(self) -> int:
        """How many requests wait for the device."""
        return self._feeder.waiting

    @property
    def load(self) -> Load:
        """What the device has done so far."""
        return self._feeder.load

    @property
    def budget(self) -> float:
        """The largest padded size of a run at present; infinite without a bound."""
        return self._feeder.budget

    @property
    def capacity(self) -> int:
        """How many requests of usual size a run holds."""
        return min(self.engine.capacity, self._max_jobs)

    @property
    def busy(self) -> int:
        """How many requests keep the device busy, those in the making included.

        Of what runs batches two runs' worth; what takes steps lets the next one in at any of them.
        """
        return 2 * self.capacity if isinstance(self._feeder, Batcher) else self.capacity + 1

    def lose(self, error: DeviceLost) -> None:
        """Its device is lost: who waits hears of it, and nobody is let in any more."""
        self._feeder.lose(error)

    async def close(self) -> None:
        """Free the device once it is idle."""
        await self._feeder.close()


@dataclass(frozen=True)
class Borrowed:
    """A warm model as one borrower has it: with a deadline.

    Attributes:
        warm: the model.
        deadline: of everything that the borrower runs.
    """

    warm: Warm
    deadline: Deadline

    @property
    def engine(self) -> Any:
        """The engine itself, for what needs no device."""
        return self.warm.engine

    async def run(self, request: Any) -> Any:
        """Answer one request.

        Raises:
            TimeoutError: it was not done by the deadline.
            QuartetError: what became of it.
        """
        return await self.warm.run(request, self.deadline)

    async def stream(self, request: Any) -> AsyncGenerator[Any, None]:
        """Answer one request, yielding the engine's events and its output last."""
        async with aclosing(self.warm.stream(request, self.deadline)) as events:
            async for event in events:
                yield event

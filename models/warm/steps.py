"""Let requests in and out of an engine that takes steps, and settle every one of them.

The counterpart of ``models.warm.batch``. The engine's steps follow each other on its device thread
as long as a request is in; between two of them those that have come are let in, and those that
nobody waits for are let go. A request ends exactly once: with ``Done``, with its own error, by its
deadline, or by its reader's going away.

Whether a device comes back shows by those who are to be let go (``models.warm.watch``).
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any

from models.device.failures import Failure, attempt, translate
from models.engine import StepEngine
from models.errors import DeviceLost
from models.warm.feeder import Feeder
from models.warm.ticket import NEVER, Deadline
from models.warm.watch import HUNG_AFTER_S, DeviceWatch
from models.work import Done

log = logging.getLogger(__name__)

_TURN_S = 0.1  # for the event loop to get round
_BROKEN = "The model's engine broke on this request; the worker restarts. Send it again."


class _Reader:
    """Who reads a request's events.

    Attributes:
        events: what is to be read; an exception or ``Done`` is the last.
        gone: set once the engine has let go of the request.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.ended = False

    def tell(self, event: Any) -> None:
        """Hand over an event; none comes after the last."""
        if not self.ended:
            self.ended = _is_last(event)
            self.events.put_nowait(event)


class Steps(Feeder):
    """Feeds one engine that takes steps.

    Args:
        engine: the warm engine.
        device: its thread, on which it was loaded.
        on_lost: called once, when the device is lost.
        hung_after_s: how long the engine may be silent that is to let go of a request.
    """

    budget = math.inf

    def __init__(
        self,
        engine: StepEngine,
        device: ThreadPoolExecutor | None = None,
        on_lost: Callable[[DeviceLost], None] = lambda _: None,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        super().__init__(engine, device, DeviceWatch(partial(self._tell, on_lost), hung_after_s))
        self._keys = count()
        self._readers: dict[int, _Reader] = {}  # until the engine has let go of them
        self._asked: deque[Callable[[], list[tuple[int, Any]]]] = deque()  # before the next step
        self._in: set[int] = set()  # the keys of those that the engine has; of its thread
        self._stepping: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """How many requests are in, or want to be."""
        return len(self._readers)

    async def stream(self, item: Any, deadline: Deadline = NEVER) -> AsyncGenerator[Any, None]:
        """Yield the events of one request, and the output of its ``Done`` last.

        Closing the iterator early lets go of the request before the next step.

        Raises:
            TimeoutError: it was not done by its deadline.
            DeviceLost: the device is.
            QuartetError: what became of it.
        """
        if self._watch.lost is not None:
            raise self._watch.lost
        key, reader = next(self._keys), _Reader(deadline)
        self._readers[key] = reader
        self._ask(lambda: self._admit(key, item))
        try:
            while True:
                try:
                    async with asyncio.timeout(deadline.left_s):
                        event = await reader.events.get()
                except TimeoutError:
                    raise await self._late(key, reader) from None
                if isinstance(event, BaseException):
                    raise event
                if isinstance(event, Done):
                    yield event.output
                    return
                yield event
        finally:
            self._let_go(key, reader)

    # On the event loop ---------------------------------------------------------------------------

    def _ask(self, what: Callable[[], list[tuple[int, Any]]]) -> None:
        """Have the engine do something before its next step."""
        self._asked.append(what)
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._asked and self._watch.lost is None:
            steps = partial(attempt, partial(self._steps, loop))
            outcome = await loop.run_in_executor(self._device, steps)
            if isinstance(outcome, Failure):
                log.error("the engine's steps ended", exc_info=outcome.error)
                self.lose(DeviceLost(_BROKEN))

    def _let_go(self, key: int, reader: _Reader) -> None:
        """Nobody reads any more; watch whether the engine lets go, if it has not."""
        if reader.ended:
            return
        reader.ended = True
        self._ask(lambda: self._drop(key))
        if not math.isinf(reader.deadline.at):
            self._watch.expect(reader.gone.is_set, time.monotonic() + reader.deadline.grace_s)

    async def _late(self, key: int, reader: _Reader) -> Exception:
        """What a request is told whose deadline has passed: is it slow, or the device hung?"""
        self._let_go(key, reader)
        with suppress(TimeoutError):
            async with asyncio.timeout(reader.deadline.grace_s + _TURN_S):
                await reader.gone.wait()
        return self._watch.lost or TimeoutError()

    def _tell(self, on_lost: Callable[[DeviceLost], None], error: DeviceLost) -> None:
        """The device is lost: so is all that is in."""
        on_lost(error)
        for reader in list(self._readers.values()):
            reader.tell(error)
            reader.gone.set()
        self._readers.clear()

    def _deliver(self, events: Sequence[tuple[int, Any]]) -> None:
        for key, event in events:
            reader = self._readers.get(key)
            if reader is None:
                continue
            if _is_last(event):
                del self._readers[key]
                reader.gone.set()
            reader.tell(event)
            if isinstance(event, DeviceLost):
                self.lose(event)

    # On the device's thread ----------------------------------------------------------------------

    def _steps(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take steps until no request is in; hand over what came of each as it is done."""
        self._watch.pulse.start()
        while True:
            events: list[tuple[int, Any]] = []
            while self._asked:
                events += self._asked.popleft()()
            if self._in:
                outcome = attempt(self._engine.step)
                events += self._fail_all(outcome.error) if isinstance(outcome, Failure) else outcome
                self.load.add(len(self._in), len(self._in))
            self._watch.pulse.beat()
            self._in.difference_update(key for key, event in events if _is_last(event))
            if events:
                loop.call_soon_threadsafe(self._deliver, events)
            if not (self._in or self._asked):
                return

    def _admit(self, key: int, item: Any) -> list[tuple[int, Any]]:
        outcome = attempt(lambda: self._engine.admit(key, item))
        if isinstance(outcome, Failure):  # of several choices, some may be in
            return [(key, self._released([key]) or translate(outcome.error))]
        self._in.add(key)
        return []

    def _drop(self, key: int) -> list[tuple[int, Any]]:
        lost = self._released([key] if key in self._in else [])
        return [(key, lost or Done())]

    def _fail_all(self, error: BaseException) -> list[tuple[int, Any]]:
        """The step failed for everybody."""
        told = translate(error)
        lost = self._released(sorted(self._in))
        return [(key, lost or told) for key in self._in]

    def _released(self, keys: Sequence[int]) -> DeviceLost | None:
        """Have the engine let go of requests; one that cannot keeps what is theirs: it is lost."""
        for key in keys:
            outcome = attempt(partial(self._engine.drop, key))
            if isinstance(outcome, Failure):
                told = translate(outcome.error)
                return told if isinstance(told, DeviceLost) else DeviceLost(_BROKEN)
        return None


def _is_last(event: Any) -> bool:
    return isinstance(event, Done | BaseException)

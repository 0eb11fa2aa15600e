"""Admit requests to a step engine and release them, and settle each request.

The counterpart of ``models.warm.batch``. The engine takes step after step on its device thread
while it has a request. Between two steps, new requests are admitted and cancelled ones released. A
request ends exactly once: with ``Done``, with its own error, at its deadline, or when its reader
closes the stream.

If the engine does not release a request in time, the device is hung (``models.warm.watch``).
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

_TURN_S = 0.1  # lets the event loop run pending callbacks
_BROKEN = "The model's engine broke on this request; the worker restarts. Send it again."


class _Reader:
    """The event queue of one request.

    Attributes:
        events: the unread events; an exception or ``Done`` is the last.
        gone: set once the engine has released the request.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.events: asyncio.Queue[Any] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.ended = False

    def put(self, event: Any) -> None:
        """Queue an event, unless the last one is already queued."""
        if not self.ended:
            self.ended = _is_last(event)
            self.events.put_nowait(event)


class Steps(Feeder):
    """Feeds a step engine.

    Args:
        engine: the warm engine.
        device: its thread, on which it was loaded.
        on_lost: called once, when the device is lost.
        hung_after_s: how long the engine may be silent when it should release a request.
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
        self._readers: dict[int, _Reader] = {}  # until the engine has released their requests
        # Calls into the engine before its next step.
        self._calls: deque[Callable[[], list[tuple[int, Any]]]] = deque()
        self._in: set[int] = set()  # keys of admitted requests; used on the device thread only
        self._stepping: asyncio.Task[None] | None = None

    @property
    def waiting(self) -> int:
        """The number of requests that are admitted or wait to be."""
        return len(self._readers)

    async def stream(self, item: Any, deadline: Deadline = NEVER) -> AsyncGenerator[Any, None]:
        """Yield the events of one request, and the output of its ``Done`` last.

        Closing the iterator early releases the request before the next step.

        Raises:
            TimeoutError: the request was not done by its deadline.
            DeviceLost: the device is lost.
            QuartetError: the request failed.
        """
        if self._watch.lost is not None:
            raise self._watch.lost
        key, reader = next(self._keys), _Reader(deadline)
        self._readers[key] = reader
        self._call(lambda: self._admit(key, item))
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
            self._release(key, reader)

    # On the event loop ---------------------------------------------------------------------------

    def _call(self, call: Callable[[], list[tuple[int, Any]]]) -> None:
        """Run a call on the device thread before the engine's next step."""
        self._calls.append(call)
        if self._stepping is None or self._stepping.done():
            self._stepping = asyncio.create_task(self._run())

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._calls and self._watch.lost is None:
            steps = partial(attempt, partial(self._steps, loop))
            outcome = await loop.run_in_executor(self._device, steps)
            if isinstance(outcome, Failure):
                log.error("the engine's steps failed", exc_info=outcome.error)
                self.lose(DeviceLost(_BROKEN))

    def _release(self, key: int, reader: _Reader) -> None:
        """Release a request that has not ended, and watch that the engine does so in time."""
        if reader.ended:
            return
        reader.ended = True
        self._call(lambda: self._drop(key))
        if not math.isinf(reader.deadline.at):
            self._watch.expect(reader.gone.is_set, time.monotonic() + reader.deadline.grace_s)

    async def _late(self, key: int, reader: _Reader) -> Exception:
        """Return the error of a request past its deadline: a timeout, or the lost device."""
        self._release(key, reader)
        with suppress(TimeoutError):
            async with asyncio.timeout(reader.deadline.grace_s + _TURN_S):
                await reader.gone.wait()
        return self._watch.lost or TimeoutError()

    def _tell(self, on_lost: Callable[[DeviceLost], None], error: DeviceLost) -> None:
        """Report that the device is lost, and fail all requests."""
        on_lost(error)
        for reader in list(self._readers.values()):
            reader.put(error)
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
            reader.put(event)
            if isinstance(event, DeviceLost):
                self.lose(event)

    # On the device's thread ----------------------------------------------------------------------

    def _steps(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take steps until the engine has no request; pass on the events of each step."""
        self._watch.pulse.start()
        while True:
            events: list[tuple[int, Any]] = []
            while self._calls:
                events += self._calls.popleft()()
            if self._in:
                outcome = attempt(self._engine.step)
                events += self._fail_all(outcome.error) if isinstance(outcome, Failure) else outcome
                self.load.add(len(self._in), len(self._in))
            self._watch.pulse.beat()
            self._in.difference_update(key for key, event in events if _is_last(event))
            if events:
                loop.call_soon_threadsafe(self._deliver, events)
            if not (self._in or self._calls):
                return

    def _admit(self, key: int, item: Any) -> list[tuple[int, Any]]:
        outcome = attempt(lambda: self._engine.admit(key, item))
        if isinstance(outcome, Failure):  # some of the request's choices may have been admitted
            return [(key, self._released([key]) or translate(outcome.error))]
        self._in.add(key)
        return []

    def _drop(self, key: int) -> list[tuple[int, Any]]:
        lost = self._released([key] if key in self._in else [])
        return [(key, lost or Done())]

    def _fail_all(self, error: BaseException) -> list[tuple[int, Any]]:
        """Return an error event for every admitted request, after a step raised ``error``."""
        failure = translate(error)
        lost = self._released(sorted(self._in))
        return [(key, lost or failure) for key in self._in]

    def _released(self, keys: Sequence[int]) -> DeviceLost | None:
        """Drop requests; return ``DeviceLost`` if the engine fails to and so keeps their memory."""
        for key in keys:
            outcome = attempt(partial(self._engine.drop, key))
            if isinstance(outcome, Failure):
                failure = translate(outcome.error)
                return failure if isinstance(failure, DeviceLost) else DeviceLost(_BROKEN)
        return None


def _is_last(event: Any) -> bool:
    return isinstance(event, Done | BaseException)

"""The base class of feeders: an engine's device thread, its watch and its shutdown."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.device.failures import Failure, attempt
from models.device.memory import free_memory
from models.errors import DeviceLost
from models.warm.load import Load
from models.warm.watch import DeviceWatch

log = logging.getLogger(__name__)


class Feeder:
    """The base class of ``Batcher`` and ``Steps``.

    Args:
        engine: the warm engine.
        device: its thread, on which it was loaded; by default a new one.
        watch: detects that the device is hung or lost.
    """

    _watch: DeviceWatch

    def __init__(self, engine: Any, device: ThreadPoolExecutor | None, watch: DeviceWatch) -> None:
        self.load = Load()
        self._engine = engine
        self._device = device or ThreadPoolExecutor(1)
        self._watch = watch

    def lose(self, error: DeviceLost) -> None:
        """Mark the device as lost: pending requests get the error, and new ones are refused."""
        self._watch.lose(error)

    def sleep(self) -> asyncio.Future[bool]:
        """Put the engine to sleep on its idle thread; the result says whether it sleeps."""
        return self._called(self._engine.sleep)

    def wake(self) -> asyncio.Future[bool]:
        """Wake the engine on its thread; the result says whether it is awake."""

        def wake() -> bool:
            self._engine.wake()
            return True

        return self._called(wake)

    def _called(self, call: Callable[[], bool]) -> asyncio.Future[bool]:
        def settled() -> bool:
            outcome = attempt(call)
            if isinstance(outcome, Failure):
                log.error("an engine could not sleep or wake", exc_info=outcome.error)
                return False
            free_memory()
            return outcome

        return asyncio.get_running_loop().run_in_executor(self._device, settled)

    async def close(self) -> None:
        """Close the engine once its device thread is idle, and free its memory."""
        if self._watch.lost is not None:  # the device thread may never return
            return
        loop = asyncio.get_running_loop()
        closed = await loop.run_in_executor(self._device, attempt, self._engine.close)
        if isinstance(closed, Failure):
            log.error("an engine could not be closed", exc_info=closed.error)
        await loop.run_in_executor(self._device, free_memory)
        self._device.shutdown(wait=False)

"""What feeds an engine, of either kind: its thread, its watch, and its end."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.device.failures import Failure, attempt
from models.device.memory import free_memory
from models.errors import DeviceLost
from models.warm.load import Load
from models.warm.watch import DeviceWatch

log = logging.getLogger(__name__)


class Feeder:
    """What ``Batcher`` and ``Steps`` share.

    Args:
        engine: the warm engine.
        device: its thread, on which it was loaded; by default a new one.
        watch: over its device.
    """

    _watch: DeviceWatch

    def __init__(self, engine: Any, device: ThreadPoolExecutor | None, watch: DeviceWatch) -> None:
        self.load = Load()
        self._engine = engine
        self._device = device or ThreadPoolExecutor(1)
        self._watch = watch

    def lose(self, error: DeviceLost) -> None:
        """Give the device up: who waits hears of it, and nobody is let in any more."""
        self._watch.lose(error)

    async def close(self) -> None:
        """Close the engine once its device thread is idle, and give its memory back."""
        if self._watch.lost is not None:  # it may not even say no
            return
        loop = asyncio.get_running_loop()
        closed = await loop.run_in_executor(self._device, attempt, self._engine.close)
        if isinstance(closed, Failure):
            log.error("an engine could not be closed", exc_info=closed.error)
        await loop.run_in_executor(self._device, free_memory)
        self._device.shutdown(wait=False)

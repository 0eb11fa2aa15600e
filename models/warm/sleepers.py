"""Models that sleep: evicted, with their weights in the machine's memory.

A sleeping model has given back the device's memory, all but what its process itself takes. It comes
back in seconds. If a load fails for want of memory, every sleeping model is closed.
"""

from __future__ import annotations

import asyncio
import logging
import time

from models.errors import DeviceLost
from models.warm.model import Warm

log = logging.getLogger(__name__)

_MOST_S = 120.0  # to fall asleep or to wake up; it takes seconds
_SILENT = "{}'s process does not answer; the worker restarts. Send the request again."


class Sleepers:
    """The sleeping models by their slugs.

    Args:
        most_s: how long a model may take to fall asleep or to wake up.
    """

    def __init__(self, most_s: float = _MOST_S) -> None:
        self._most_s = most_s
        self._models: dict[str, Warm] = {}

    def __len__(self) -> int:
        """How many they are."""
        return len(self._models)

    async def put(self, warm: Warm) -> bool:
        """Put an idle model to sleep; return whether it sleeps, else it has to be closed.

        Raises:
            DeviceLost: it does not answer.
        """
        start = time.monotonic()
        if not await self._within(warm, warm.sleep()):
            return False
        self._models[warm.row.slug] = warm
        log.info("%s: asleep after %.1f s", warm.row.slug, time.monotonic() - start)
        return True

    async def wake(self, slug: str) -> Warm | None:
        """Return a model that slept; None if there is none, or if it cannot wake and is closed.

        Raises:
            DeviceLost: it does not answer.
        """
        warm = self._models.pop(slug, None)
        if warm is None:
            return None
        start = time.monotonic()
        if not await self._within(warm, warm.wake()):
            await warm.close()
            return None
        log.info("%s: awake after %.1f s", slug, time.monotonic() - start)
        return warm

    async def close(self) -> None:
        """Close all of them."""
        while self._models:
            slug, warm = self._models.popitem()
            await warm.close()
            log.info("%s: unloaded", slug)

    def lose(self, error: DeviceLost) -> None:
        """Mark the device as lost for all of them."""
        for warm in self._models.values():
            warm.lose(error)

    async def _within(self, warm: Warm, answer: asyncio.Future[bool]) -> bool:
        done, _ = await asyncio.wait([answer], timeout=self._most_s)
        if not done:  # its thread waits for it
            raise DeviceLost(_SILENT.format(warm.row.slug))
        return answer.result()

"""Turns in another order than that in which they were asked for."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

_HELD_S = 0.2  # how long turns are collected
_APART_S = 0.005  # between two turns, so that the first is taken before the next is given


class Shuffle:
    """Collects those who wait for a while, and lets them go on in another order.

    Args:
        chance: decides on the order.
        happened: counts, as ``reorder``, those who went before one who had come earlier.
    """

    def __init__(self, chance: random.Random, happened: Counter[str]) -> None:
        self._chance = chance
        self._happened = happened
        self._waiting: list[asyncio.Future[None]] = []
        self._giving: asyncio.Task[None] | None = None

    async def turn(self) -> None:
        """Wait for a turn."""
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        if self._giving is None or self._giving.done():
            self._giving = asyncio.create_task(self._give())
        await mine

    async def _give(self) -> None:
        while self._waiting:
            await asyncio.sleep(_HELD_S)
            held, self._waiting = self._waiting, []
            order = list(enumerate(held))
            self._chance.shuffle(order)
            for place, (number, waiting) in enumerate(order):
                self._happened["reorder"] += any(later < number for later, _ in order[place + 1 :])
                if not waiting.done():  # its connection may have ended
                    waiting.set_result(None)
                await asyncio.sleep(_APART_S)

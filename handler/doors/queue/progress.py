"""Progress of a job, reported to the platform: seldom, in order, and never after its result.

The SDK's own ``progress_update`` starts a thread, a loop and a session for each, and two of them
may overtake one another, or the result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

EVERY_S = 1.0


class Updates:
    """Tells of one job; a context manager that has told all it will at its end.

    A job that is done sooner than an update is due has none.

    Args:
        post: brings one update to the platform, or gives up soon.
        every_s: how much lies between two of them, and before the first.
    """

    def __init__(self, post: Callable[[Any], Awaitable[object]], every_s: float = EVERY_S) -> None:
        self._post = post
        self._every_s = every_s
        self._latest: Any = None
        self._over = asyncio.Event()
        self._telling: asyncio.Task[None] | None = None

    def tell(self, value: Any) -> None:
        """Note how far it is; what is told is the latest."""
        self._latest = value
        if self._telling is None:
            self._telling = asyncio.create_task(self._tell())

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell no more, and wait for what is on its way: the result must not be overtaken."""
        self._over.set()
        if self._telling is not None:
            if kind is not None:
                self._telling.cancel()
            await asyncio.wait([self._telling])

    async def _tell(self) -> None:
        told = None
        while not self._over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(self._every_s):
                    await self._over.wait()
                    return
            if self._latest is not told:
                told = self._latest
                await self._post(told)

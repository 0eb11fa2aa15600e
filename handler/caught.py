"""Catching everything, where a job must be answered whatever goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Caught:
    """Holds whatever goes wrong in its block; a context manager.

    The one place that catches everything: a job must be answered, also after a bug of ours.

    Args:
        stopped: called where the block is cancelled, or its reader leaves; either goes on.
    """

    error: Exception

    def __init__(self, stopped: Callable[[], None] = lambda: None) -> None:
        self._stopped = stopped

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Hold an error; let what stops a task go on."""
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._stopped()
        if not isinstance(error, Exception):
            return False
        self.error = error
        return True

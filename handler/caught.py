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


def let_go(error: BaseException) -> None:
    """Drop the frames of an error that is answered, and the errors that led to it with theirs.

    They refer to the job, and among its variables is the error: a cycle, which would keep its files
    and texts until a full garbage collection.
    """
    left: list[BaseException] = [error]
    while left:
        current = left.pop()
        causes = [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            causes += current.exceptions
        left += [cause for cause in causes if cause is not None]
        current.__traceback__ = current.__cause__ = current.__context__ = None

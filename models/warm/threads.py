"""Run an engine's CPU work, in a thread if it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from models.device.failures import Failure, attempt, translate
from models.work import Work


async def in_thread(step: Callable[[Any], Any], value: Any) -> Any:
    """Run a step in a thread.

    A panic in a Rust library is a ``BaseException``. It is translated into an ``Exception``, so
    that the handlers of failed jobs catch it.
    """
    outcome = await asyncio.to_thread(attempt, partial(step, value))
    if not isinstance(outcome, Failure):
        return outcome
    error = outcome.error
    raise error if isinstance(error, Exception) else translate(error)


async def finished(work: Work, outputs: Sequence[Any]) -> Any:
    """Return the engine's answer, made from the outputs of its parts."""
    return await in_thread(work.finish, outputs) if work.in_thread else work.finish(outputs)

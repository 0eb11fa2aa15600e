"""An engine's work on the CPU, in a thread where it takes long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from models.device.failures import Failure, attempt, translate
from models.work import Work


async def in_thread(step: Callable[[Any], Any], value: Any) -> Any:
    """Run a step in a thread.

    A panic in a Rust library is no ``Exception``; it becomes one, so that it cannot pass the places
    that answer for every job.
    """
    outcome = await asyncio.to_thread(attempt, partial(step, value))
    if not isinstance(outcome, Failure):
        return outcome
    error = outcome.error
    raise error if isinstance(error, Exception) else translate(error)


async def finished(work: Work, outputs: Sequence[Any]) -> Any:
    """The engine's answer, of the outputs of its parts."""
    return await in_thread(work.finish, outputs) if work.in_thread else work.finish(outputs)

"""An engine's work on the CPU: beside the event loop, where it is worth a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from models.device.failures import Failure, attempt, translate
from models.surface import Work


async def beside(step: Callable[[Any], Any], value: Any) -> Any:
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
    return await beside(work.finish, outputs) if work.beside else work.finish(outputs)

"""Errors of loads, whose libraries raise anything."""

from __future__ import annotations

import asyncio
import logging

from models.device.failures import is_device_lost, is_out_of_memory
from models.errors import DeviceLost, ModelDoesNotFit, ModelLoadFailed, OutOfMemory, QuartetError
from models.row import Row

log = logging.getLogger(__name__)


def may_want_memory(error: Exception) -> bool:
    """Whether a load may have failed for want of memory; libraries say so in words of their own."""
    return not isinstance(error, QuartetError) or isinstance(error, OutOfMemory | ModelDoesNotFit)


def retrieve(task: asyncio.Task[None]) -> None:
    """Retrieve a load's error, already logged, in case no lease awaits the task any more."""
    if not task.cancelled():
        task.exception()


def load_error(row: Row, error: Exception) -> QuartetError:
    """Return the error of a load by its name; a library's own is logged, not answered."""
    if isinstance(error, QuartetError):
        return error
    log.error("%s: load failed", row.slug, exc_info=error)
    if is_out_of_memory(error):
        return OutOfMemory(f"The device ran out of memory while {row.slug} loaded.")
    if is_device_lost(error):
        return DeviceLost(f"The GPU failed while {row.slug} loaded; the worker restarts.")
    return ModelLoadFailed(f"{row.slug} could not be loaded; the worker's log has the details.")

"""Engines whose device runs out of memory or is lost, when the control file says so.

The errors are torch's own words. Where memory is tight, a run of several parts fails, and one of a
single part succeeds. Where there is none, each run fails, and so does the first step of each
conversation; those that have begun go on. A lost device fails every call from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from benchmarks.chaos.control import Control
from models.engine import BatchEngine, Engine, StepEngine
from models.warm.loader import Loader

_NO_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB."
_LOST = "CUDA error: an illegal memory access was encountered"


class Device:
    """What the control file says of a worker's device.

    Args:
        control: the file.
        worker: the id of the worker.
    """

    def __init__(self, control: Control, worker: str) -> None:
        self._control = control
        self._worker = worker

    def need(self, requests: int) -> None:
        """Take memory for a number of requests at once.

        Raises:
            RuntimeError: there is no room, or the device is lost.
        """
        entries = self._control.read()
        if entries.get("device") == self._worker:
            raise RuntimeError(_LOST)
        memory = entries.get("memory")
        if memory == "none" or (memory == "tight" and requests > 1):
            raise RuntimeError(_NO_MEMORY)

    def alive(self) -> None:
        """Use the device without taking memory.

        Raises:
            RuntimeError: the device is lost.
        """
        if self._control.read().get("device") == self._worker:
            raise RuntimeError(_LOST)

    def holds(self, engine: Engine) -> Engine:
        """Let an engine's calls depend on this device; returns the engine."""
        if isinstance(engine, BatchEngine):
            _before(engine, "run", lambda batch: self.need(len(batch)))
        elif isinstance(engine, StepEngine):
            _before(engine, "step", self.alive)
            self._holds_requests(engine)
        return engine

    def _holds_requests(self, engine: Any) -> None:
        """Let the first step of each request of a chat take memory."""
        pages = getattr(engine, "_paged", None)  # chat in this process, which makes room by itself
        if pages is None:
            _before(engine, "admit", lambda key, item: self.need(1))
            return
        newest_that_fitted = -1

        def need() -> None:
            nonlocal newest_that_fitted
            newest = max((choice.key for choice in engine._choices.values()), default=-1)
            if newest > newest_that_fitted:
                self.need(1)
            newest_that_fitted = newest

        _before(pages, "step", need)

    def install(self) -> None:
        """Let every engine that this process loads depend on the device."""
        load = Loader.__call__

        @wraps(load)
        def held(loader: Loader, *arguments: Any) -> Engine:
            return self.holds(load(loader, *arguments))

        Loader.__call__ = held  # type: ignore[method-assign]


def _before(owner: Any, name: str, check: Callable[..., None]) -> None:
    """Call ``check`` with the same arguments before each call of a method of one object."""
    method = getattr(owner, name)

    @wraps(method)
    def checked(*arguments: Any) -> Any:
        check(*arguments)
        return method(*arguments)

    setattr(owner, name, checked)

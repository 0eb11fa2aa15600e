"""The time that a model's start spends in each stage.

download   fetching weights that are not on this machine
read       reading files into the page cache, concurrently with the other stages
load       importing libraries, loading weights, creating the device's context
compile    compiling kernels and graphs, if the library reports it
warm       measuring the size of runs, and the warm-up request
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

NAMES = ("download", "read", "load", "compile", "warm")

_recorder: ContextVar[Recorder | None] = ContextVar("stages", default=None)


class Recorder:
    """Adds up seconds by stage.

    Attributes:
        seconds: by stage; time in a nested stage counts for the inner stage only.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(NAMES, 0.0)
        self._inner_s = [0.0]  # seconds in nested stages, for each open stage

    def add(self, name: str, seconds: float) -> None:
        """Add seconds to a stage that were measured elsewhere."""
        self.seconds[name] += seconds

    def within(self, name: str, seconds: float) -> None:
        """Move seconds that were measured elsewhere from the innermost open stage to another."""
        self.add(name, seconds)
        self._inner_s[-1] += seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block."""
        start = time.monotonic()
        self._inner_s.append(0.0)
        try:
            yield
        finally:
            total = time.monotonic() - start
            self.add(name, total - self._inner_s.pop())
            self._inner_s[-1] += total


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record the stages in the block, on this thread."""
    recorder = Recorder()
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Measure the block, if the stages are being recorded."""
    recorder = _recorder.get()
    if recorder is None:
        yield
        return
    with recorder.stage(name):
        yield


def spent(name: str, seconds: float) -> None:
    """Move seconds that were measured elsewhere from the open stage to another."""
    if (recorder := _recorder.get()) is not None:
        recorder.within(name, seconds)


def line(seconds: Mapping[str, float]) -> str:
    """Return all stages in one line: ``download 0.0 s, read 0.4 s, load 3.1 s, …``."""
    return ", ".join(f"{name} {seconds.get(name, 0.0):.1f} s" for name in NAMES)

"""What a model's start spends its time on, by stages.

download   weights that are not on this machine
read       files into the page cache; beside the other stages, not among them
load       libraries, weights, the device's context
compile    kernels and graphs, where the library says so
warm       the size of runs that is measured, and the rehearsal
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
        seconds: of each stage so far; what a stage spends within another is the inner one's alone.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = dict.fromkeys(NAMES, 0.0)
        self._inner_s = [0.0]  # what is spent in inner stages, for each stage that is open

    def add(self, name: str, seconds: float) -> None:
        """Count what was measured elsewhere."""
        self.seconds[name] += seconds

    def within(self, name: str, seconds: float) -> None:
        """Count a part of the innermost open stage, measured elsewhere, as another stage's."""
        self.add(name, seconds)
        self._inner_s[-1] += seconds

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block."""
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
    """Record what ``stage`` and ``spent`` say in the block, on this thread."""
    recorder = Recorder()
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count the block, where somebody records."""
    recorder = _recorder.get()
    if recorder is None:
        yield
        return
    with recorder.stage(name):
        yield


def spent(name: str, seconds: float) -> None:
    """Count a part of the open stage, measured elsewhere, as another stage's."""
    if (recorder := _recorder.get()) is not None:
        recorder.within(name, seconds)


def line(seconds: Mapping[str, float]) -> str:
    """All stages in one line: ``download 0.0 s, read 0.4 s, load 3.1 s, …``."""
    return ", ".join(f"{name} {seconds.get(name, 0.0):.1f} s" for name in NAMES)

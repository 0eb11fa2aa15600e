"""Watching over the process: an event loop that stands still, threads that do not come free."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

_LOOK_S = 1.0
_STILL_S = 2.0
_STUCK_AFTER_S = 20.0
_FRAMES = 6  # of what holds the loop, the innermost


class LoopWatch:
    """Logs what holds the running event loop where it stands still; a context manager.

    While it does, nothing is taken, stopped or delivered, and pings from another process say that
    all is well.

    Args:
        still_s: how long it may be busy with one thing.
        look_s: between two looks.
    """

    def __init__(self, still_s: float = _STILL_S, look_s: float = _LOOK_S) -> None:
        self._still_s = still_s
        self._look_s = look_s
        self._stop = threading.Event()

    def __enter__(self) -> Self:
        """Begin, on the thread of the loop."""
        place = (asyncio.get_running_loop(), threading.get_ident())
        threading.Thread(target=self._watch, args=place, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._stop.set()

    def _watch(self, loop: asyncio.AbstractEventLoop, thread: int) -> None:
        while not self._stop.wait(self._look_s):
            answered, asked = threading.Event(), time.monotonic()
            try:
                loop.call_soon_threadsafe(answered.set)
            except RuntimeError:  # it is closed
                return
            if answered.wait(self._still_s) or self._stop.is_set():
                continue
            log.warning("the event loop stands still in %s", _where(thread))
            answered.wait()
            log.warning("the event loop goes on after %.1f s", time.monotonic() - asked)


def _nothing() -> None:
    """Run on a thread to see whether one is free."""


class ThreadWatch:
    """Watches whether the event loop's default threads come free; an async context manager.

    Work that blocks runs on them. When all of them are held for good, the loop still answers
    whoever asks how it is, and nothing else gets done.

    Args:
        stuck_after_s: how long none may be free.

    Attributes:
        stuck: whether none has come free for that long.
    """

    def __init__(self, stuck_after_s: float = _STUCK_AFTER_S) -> None:
        self.stuck = False
        self._stuck_after_s = stuck_after_s
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin."""
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            probe = asyncio.ensure_future(asyncio.to_thread(_nothing))
            free, _ = await asyncio.wait({probe}, timeout=self._stuck_after_s)
            if not free:
                self.stuck = True
                log.error("no thread has come free for %g s", self._stuck_after_s)
                await probe
                self.stuck = False
                log.warning("a thread has come free again")
            await asyncio.sleep(_LOOK_S)


def _where(thread: int) -> str:
    """Return the innermost frames of a thread: places in the code, and no values."""
    frame = sys._current_frames().get(thread)
    stack = traceback.extract_stack(frame)[-_FRAMES:] if frame is not None else []
    places = (f"{frame.filename}:{frame.lineno} {frame.name}" for frame in reversed(stack))
    return " < ".join(places)

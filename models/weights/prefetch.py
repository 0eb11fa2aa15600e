"""Read weights into the page cache while libraries are imported.

A cold start is the larger of the two then, and no longer their sum: an import computes, and this
waits for a disk or a network. What is there already is not read again.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from models.device.hardware import available_bytes

_SEGMENT_BYTES = 64 << 20
_BUFFER_BYTES = 4 << 20
_THREADS = 4  # a network volume is faster with several; a disk is not slower
_SHARE = 0.5  # of the memory that is free, for pages that the kernel may drop again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Segment:
    file: Path
    start: int


def read_ahead(
    weights: Path, on_end: Callable[[float], None] = lambda _: None
) -> list[threading.Thread]:
    """Begin to read a folder, or a file; returns the threads, which end by themselves.

    They end with the process too, and no error of theirs counts: who loads will meet it. The last
    of them calls ``on_end`` with the seconds that all have taken.
    """
    waiting: SimpleQueue[_Segment | None] = SimpleQueue()
    ended: SimpleQueue[None] = SimpleQueue()
    start = time.monotonic()

    def read() -> None:
        _read_all(waiting)
        ended.put(None)
        if ended.qsize() == _THREADS:
            on_end(time.monotonic() - start)

    jobs: list[Callable[[], None]] = [partial(_list, weights, waiting), *[read] * _THREADS]
    threads = [threading.Thread(target=job, name="prefetch", daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    return threads


def _list(weights: Path, waiting: SimpleQueue[_Segment | None]) -> None:
    total = 0
    for segment in _segments(weights, int(available_bytes() * _SHARE)):
        waiting.put(segment)
        total += 1
    for _ in range(_THREADS):
        waiting.put(None)
    if total:
        log.debug("reading %d MB of weights ahead, about", total * _SEGMENT_BYTES >> 20)


def _segments(weights: Path, room_bytes: int) -> Iterator[_Segment]:
    """What is to be read, in the order of the files' names, as much as there is room for."""
    files = sorted(weights.rglob("*")) if weights.is_dir() else [weights]
    for file in files:
        with suppress(OSError):
            if not file.is_file():
                continue
            size = file.stat().st_size
            for start in range(0, size, _SEGMENT_BYTES):
                end = min(size, start + _SEGMENT_BYTES)
                if end - start > room_bytes:
                    return
                room_bytes -= end - start
                if not _is_there(file, start, end):
                    yield _Segment(file, start)


def _is_there(file: Path, start: int, end: int) -> bool:
    """Whether a segment's beginning, middle and last byte are in memory, as far as can be told."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for offset in (start, (start + end) // 2, end - 1):
            # EAGAIN where it would have to wait for the disk; see preadv2(2).
            os.preadv(descriptor, [bytearray(1)], offset, os.RWF_NOWAIT)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _read_all(waiting: SimpleQueue[_Segment | None]) -> None:
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    while (segment := waiting.get()) is not None:
        with suppress(OSError), segment.file.open("rb", buffering=0) as opened:
            opened.seek(segment.start)
            left = _SEGMENT_BYTES
            while left and (got := opened.readinto(buffer[: min(left, _BUFFER_BYTES)])):
                left -= got

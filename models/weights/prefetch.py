"""Read weights into the page cache while libraries are imported.

An import computes, while reading waits for a disk or a network. Done at once, a cold start takes as
long as the slower of the two, not as both. What is in the page cache already is not read again.
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
_THREADS = 4  # several are faster on a network volume, and no slower on a disk
_SHARE = 0.5  # the share of free memory to fill; the kernel may drop these pages again

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Segment:
    file: Path
    start: int


def read_ahead(
    weights: Path, on_end: Callable[[float], None] = lambda _: None
) -> list[threading.Thread]:
    """Start to read a folder or a file; return the threads.

    The threads end by themselves, at the latest with the process. Their errors are ignored, since
    the load meets the same ones. The last thread calls ``on_end`` with the seconds since the start.
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
        log.debug("prefetching about %d MB of weights", total * _SEGMENT_BYTES >> 20)


def _segments(weights: Path, room_bytes: int) -> Iterator[_Segment]:
    """Yield the segments to read, in the order of file names, up to ``room_bytes`` in all."""
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
    """Whether a segment's first, middle and last byte are in memory; False if unknown."""
    if not hasattr(os, "RWF_NOWAIT"):
        return False
    descriptor = os.open(file, os.O_RDONLY)
    try:
        for offset in (start, (start + end) // 2, end - 1):
            # EAGAIN if the read would wait for the disk; see preadv2(2).
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

"""The memory of this process: keep freed memory for the next run, or release it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h; see mallopt(3)
_KEPT_BYTES = 1 << 28
_KEPT_BYTES_BEFORE_2_35 = 1 << 25  # the maximum of older versions of glibc
_SURPLUS_BYTES = 1 << 26
_LOOKED_AT_S = 1.0
_USUAL_THRESHOLDS = gc.get_threshold()


def keep_freed() -> bool:
    """Keep memory that a run on the CPU has freed for the next run; return whether libc can.

    By default glibc returns large blocks to the system as soon as they are freed. The next run then
    gets them back page by page, and the kernel zeroes each page. With this setting only blocks
    over 256 MiB (32 MiB with an older glibc) go back at once, and free memory at the end of the
    heap beyond the same size. ``free_memory`` returns the rest. Call this before any thread
    starts: a thread that already has a heap of its own keeps it, and returns it whenever it is
    empty.
    """
    option = getattr(_c_library(), "mallopt", None)
    if option is None:
        return False
    # This option comes first: without it the others are harmful.
    sizes = (_KEPT_BYTES, _KEPT_BYTES_BEFORE_2_35)
    if not any(option(_MMAP_THRESHOLD, size) for size in sizes):
        return False
    return bool(option(_TRIM_THRESHOLD, _KEPT_BYTES) and option(_ARENA_MAX, 1))


def collect_rarely() -> None:
    """Collect garbage rarely while libraries are imported: all of their objects stay alive.

    This makes an import of transformers a quarter shorter. ``settle`` ends it.
    """
    gc.set_threshold(100_000, 50, 100)


def settle() -> None:
    """Collect garbage at the usual rate again, but exclude all objects that exist now.

    The objects of a loaded model stay alive, and each scan of them would pause jobs for a while.
    Only ``free_memory`` scans them again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL_THRESHOLDS)


def free_memory() -> None:
    """Release unused memory, including what torch's allocator and the C library keep.

    This also scans the objects that ``settle`` has excluded: those of a closed model may refer to
    each other in cycles, which only a garbage collection frees.
    """
    settled = gc.get_freeze_count() > 0
    if settled:
        gc.unfreeze()
    gc.collect()
    if settled:
        gc.freeze()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    release_kept()


def release_kept() -> None:
    """Release the memory that the C library keeps, without a garbage collection."""
    if trim := getattr(_c_library(), "malloc_trim", None):
        trim(0)


class Surplus:
    """Releases the memory that the C library keeps, each time the process has grown by too much.

    What stays, such as cached embeddings, lies among what is freed. Then runs find no room between
    the blocks that stay, and the heap of ``keep_freed`` grows by far more than they take.

    Args:
        most_bytes: how much the process may grow after a release and the runs that follow it.
        resident: returns the memory of this process in bytes.
        release: releases what is kept.
        pause_s: between two looks.
    """

    def __init__(
        self,
        most_bytes: int = _SURPLUS_BYTES,
        resident: Callable[[], int] | None = None,
        release: Callable[[], None] = release_kept,
        pause_s: float = _LOOKED_AT_S,
    ) -> None:
        self._most_bytes = most_bytes
        self._resident = resident or resident_bytes
        self._release = release
        self._pause_s = pause_s
        self._looked_at_s = time.monotonic()
        self._usual: int | None = None

    def look(self) -> None:
        """Look at the memory of the process; call this after each run, on any thread."""
        now_s = time.monotonic()
        if now_s < self._looked_at_s + self._pause_s:
            return
        self._looked_at_s, resident, usual = now_s, self._resident(), self._usual
        if usual is None:
            self._usual = resident
        elif resident > usual + self._most_bytes:
            self._release()
            self._usual = None  # known once the next runs have what they need


def resident_bytes() -> int:
    """Return the memory of this process; 0 on a system that does not say."""
    try:
        pages = Path("/proc/self/statm").read_text().split()[1]
    except OSError:
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _c_library() -> Any:
    """Return the C library, or None if it cannot be loaded."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # a static interpreter; Windows
        return None

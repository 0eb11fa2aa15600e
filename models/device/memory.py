"""The memory of this process: what is kept for the next run, and what is given back."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h; see mallopt(3)
_KEPT_BYTES = 1 << 28
_KEPT_BYTES_BEFORE_2_35 = 1 << 25  # the most that an older glibc takes
_USUAL_THRESHOLDS = gc.get_threshold()


def keep_freed() -> bool:
    """Keep what a run on the CPU has freed for the next one; returns whether the C library can.

    glibc by itself gives large blocks back as they are freed, and the next run gets them from the
    system again, page by page, each page zeroed. Blocks of more than 256 MiB (32 with an older
    glibc) still go back, and what is free beyond as much at the end of the heap; the rest does by
    ``free_memory``. To be called before there are threads: one that has a heap of its own keeps it,
    and gives it back whenever it is empty.
    """
    option = getattr(_c_library(), "mallopt", None)
    if option is None:
        return False
    # This one first: without it the others only do harm.
    sizes = (_KEPT_BYTES, _KEPT_BYTES_BEFORE_2_35)
    if not any(option(_MMAP_THRESHOLD, size) for size in sizes):
        return False
    return bool(option(_TRIM_THRESHOLD, _KEPT_BYTES) and option(_ARENA_MAX, 1))


def collect_rarely() -> None:
    """Look for garbage seldom, as long as libraries are imported, whose every object stays.

    An import of transformers is a quarter shorter. ``settle`` ends it.
    """
    gc.set_threshold(100_000, 50, 100)


def settle() -> None:
    """Look for garbage as usual again, and never more through what is there now.

    What a loaded model is made of stays: each look at it would halt jobs for a while. Only
    ``free_memory`` looks at it again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL_THRESHOLDS)


def free_memory() -> None:
    """Give back what nobody uses any more, also what torch's allocator and the C library keep.

    What ``settle`` has set aside is looked at, too: a model that is closed may hang together in
    circles, which nothing but a collection takes apart.
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
    """Give back what the C library keeps; without ``free_memory``'s look at every object."""
    if trim := getattr(_c_library(), "malloc_trim", None):
        trim(0)


def _c_library() -> Any:
    """The C library, or None where it cannot be told."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # a static interpreter; Windows
        return None

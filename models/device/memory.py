"""The memory of this process: keep freed memory for the next run, or release it."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # glibc's malloc.h; see mallopt(3)
_KEPT_BYTES = 1 << 28
_KEPT_BYTES_BEFORE_2_35 = 1 << 25  # the maximum of older versions of glibc
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


def _c_library() -> Any:
    """Return the C library, or None if it cannot be loaded."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # a static interpreter; Windows
        return None

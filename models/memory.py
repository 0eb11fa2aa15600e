"""The memory of this process: what is kept for the next run, and what is given back."""

from __future__ import annotations

import ctypes
import gc
import sys

_KEPT_BYTES = 1 << 28
_OPTIONS = {  # of glibc's malloc.h; see mallopt(3)
    -1: _KEPT_BYTES,  # M_TRIM_THRESHOLD
    -3: _KEPT_BYTES,  # M_MMAP_THRESHOLD
    -8: 1,  # M_ARENA_MAX: the heaps of a thread's own are small, and go back once they are empty
}


def keep_freed() -> bool:
    """Keep what a run on the CPU has freed for the next one; returns whether the C library can.

    glibc by itself gives large blocks back as they are freed, and the next run gets them from the
    system again, page by page, each page zeroed. Blocks of more than 256 MiB, and what is free
    beyond as much, still go back. To be called before there are threads.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    return set_option is not None and all(set_option(*one) for one in _OPTIONS.items())


def free_memory() -> None:
    """Give back what nobody uses any more, also what torch's allocator and the C library keep."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        trim(0)

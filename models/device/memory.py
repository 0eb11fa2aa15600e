"""The memory of this process: what is kept for the next run, and what is given back."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8  # of glibc's malloc.h; see mallopt(3)
_KEPT_BYTES = 1 << 28
_USUAL_THRESHOLDS = gc.get_threshold()
_KEPT_BYTES_BEFORE_2_35 = 1 << 25  # the most that an older glibc takes


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

    What a loaded model is made of stays: each look at it would halt jobs for a while.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_USUAL_THRESHOLDS)


def free_memory() -> None:
    """Give back what nobody uses any more, also what torch's allocator and the C library keep."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    release_kept()


def release_kept() -> None:
    """Give back what the C library keeps; without ``free_memory``'s look at every object."""
    if trim := getattr(_c_library(), "malloc_trim", None):
        trim(0)


def available_bytes() -> int:
    """Memory that can be taken without swapping, of the machine or of this container's share.

    What files keep of it in the page cache counts as free: the kernel drops it when asked.
    """
    found = [_of_machine()]
    for limit, used, cached in _CGROUPS:
        with suppress(OSError, ValueError, KeyError):
            stat = dict(line.split() for line in Path(cached[0]).read_text().splitlines())
            taken = int(Path(used).read_text()) - int(stat[cached[1]])
            found.append(int(Path(limit).read_text()) - taken)
    return max(0, min(found))


_CGROUP = "/sys/fs/cgroup"
_CGROUPS = (  # version 2, version 1: the limit, what is used, and what of it are files' pages
    (
        f"{_CGROUP}/memory.max",
        f"{_CGROUP}/memory.current",
        (f"{_CGROUP}/memory.stat", "inactive_file"),
    ),
    (
        f"{_CGROUP}/memory/memory.limit_in_bytes",
        f"{_CGROUP}/memory/memory.usage_in_bytes",
        (f"{_CGROUP}/memory/memory.stat", "total_inactive_file"),
    ),
)


def _of_machine() -> int:
    """``MemAvailable`` of Linux; elsewhere what is free by ``sysconf``, or nothing."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _c_library() -> Any:
    """The C library, or None where it cannot be told."""
    try:
        return ctypes.CDLL(None)
    except (OSError, TypeError):  # a static interpreter; Windows
        return None

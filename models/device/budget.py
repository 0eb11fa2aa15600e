"""Measure on the device how large a run should be.

Larger runs are faster up to a point: on a GPU until its arithmetic units are busy, on a CPU until
the activations no longer fit its caches. Beyond that point they only take memory and delay other
requests.
"""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from models.device.failures import Failure, attempt, is_out_of_memory
from models.device.memory import free_memory, release_kept

_WARM_UP = 64  # a minimal first run, which imports libraries and loads their kernels
_SMALLEST, _LARGEST = 1024, 262_144  # unless the device is too slow, twice the smallest is tried
_BETTER = 1.03  # the speed-up from which a larger size is worth the delay of other requests
_FURTHER = 4  # how far beyond the best size to search: a single size may be slow by chance
_SHORT_S = 0.03  # shorter runs are timed again: a single measurement may be off
_TIMES = 3
_UNUSUAL = 1.5  # a run this many times slower than expected may have loaded a kernel for its size


def measure(
    probe: Callable[[int], None], working_bytes: int | None = None, patience_s: float = 0.3
) -> int:
    """Return the size of a run beyond which the device does not get much faster.

    Args:
        probe: runs the device on a given size, and returns when it is done.
        working_bytes: memory that a run may take, in addition to what is in use before.
        patience_s: about how long to measure after the first run. On a slow device the size reached
            by then is returned, so that one run does not delay others for long.

    The first run is small and is not timed: it imports libraries, creates the device's context and
    loads kernels, which takes seconds on a GPU.
    """
    worthwhile = [_SMALLEST]
    outcome = attempt(lambda: _climb(_within(probe, working_bytes), patience_s, worthwhile))
    if isinstance(outcome, Failure):
        if not is_out_of_memory(outcome.error):
            raise outcome.error
        free_memory()
    return worthwhile[-1]


def _climb(probe: Callable[[int], None], patience_s: float, worthwhile: list[int]) -> None:
    """Try ever larger sizes, and append to ``worthwhile`` each that is faster than those before."""
    probe(_WARM_UP)
    end = time.monotonic() + patience_s
    best, size = math.inf, _SMALLEST
    probe(size)  # allocates, and chooses kernels
    each = _seconds(probe, size) / size if time.monotonic() < end else math.inf
    while 2 * size <= min(_LARGEST, worthwhile[-1] * _FURTHER):
        if time.monotonic() + 2 * size * each > end:
            break
        size *= 2
        each = _seconds(probe, size, size * each) / size
        if each * _BETTER < best:
            best = each
            worthwhile.append(size)


def _within(probe: Callable[[int], None], working_bytes: int | None) -> Callable[[int], None]:
    """Return a probe that raises ``MemoryError`` when it takes more than ``working_bytes``."""
    if working_bytes is None:
        return probe
    peak_bytes, before_bytes = _memory()

    def checked(size: int) -> None:
        probe(size)
        if peak_bytes() - before_bytes > working_bytes:
            raise MemoryError

    return checked


def _memory() -> tuple[Callable[[], int], int]:
    """Return a function for the peak memory from now on, and the memory in use, GPU or process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated, torch.cuda.memory_allocated()
    release_kept()  # kept memory would hide what a run allocates
    with suppress(OSError):  # if resetting is forbidden, an earlier peak may hide a later one
        Path("/proc/self/clear_refs").write_text("5")
    return peak_resident_bytes, peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The peak resident memory of this process in bytes, from Linux's ``proc(5)``; 0 elsewhere."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(peak[1]) * 1024 if peak else 0


def _seconds(probe: Callable[[int], None], size: int, expected_s: float = math.inf) -> float:
    """Return the time of the fastest of a few runs; a long run is measured once only.

    A long run that is much slower than ``expected_s`` is measured again: by then the kernels for
    its size are loaded or compiled.
    """
    shortest, end = math.inf, time.perf_counter() + _SHORT_S
    for count in range(1, _TIMES + 1):
        start = time.perf_counter()
        probe(size)
        shortest = min(shortest, time.perf_counter() - start)
        unusual = count == 1 and shortest > _UNUSUAL * expected_s
        if time.perf_counter() > end and not unusual:
            break
    return shortest

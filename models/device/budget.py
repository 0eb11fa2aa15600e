"""How much one run should hold, measured on the device at hand.

Larger runs are faster up to a point: on a GPU until its arithmetic is busy, on a CPU until the
activations leave its caches. Beyond that they only delay those who wait and take memory.
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

_WARM_UP = 64  # a run as small as there is: it finds the libraries and their first kernels
_SMALLEST, _LARGEST = 1024, 262_144  # a device that is not too slow for it gets twice the smallest
_BETTER = 1.03  # a size that is faster by less than this only delays those who wait
_FURTHER = 4  # how far beyond the best size is looked: one step may be slow by chance
_SHORT_S = 0.03  # runs that are shorter are timed again: once may be chance
_TIMES = 3
_UNUSUAL = 1.5  # times as slow as the size before: a kernel may have been loaded for this one


def measure(
    probe: Callable[[int], None], working_bytes: int | None = None, patience_s: float = 0.3
) -> int:
    """The size of a run beyond which the device does not get much faster.

    Args:
        probe: runs the device on a given size, and returns when it is done.
        working_bytes: memory that a run may take, besides what is taken before it.
        patience_s: about how long this may take after the first run; a slow device keeps the size
            reached by then, so that one run does not delay others for long.

    The first run imports what it needs, makes the device's context and loads kernels, which takes
    seconds on a GPU. It is a small one, and its time does not count.
    """
    found = [_SMALLEST]
    outcome = attempt(lambda: _climb(_within(probe, working_bytes), patience_s, found))
    if isinstance(outcome, Failure):
        if not is_out_of_memory(outcome.error):
            raise outcome.error
        free_memory()
    return found[-1]


def _climb(probe: Callable[[int], None], patience_s: float, found: list[int]) -> None:
    """Try ever larger sizes, and note in ``found`` each that is worth it."""
    probe(_WARM_UP)
    end = time.monotonic() + patience_s
    best, size = math.inf, _SMALLEST
    probe(size)  # allocations and choices of kernels are made here
    each = _seconds(probe, size) / size if time.monotonic() < end else math.inf
    while 2 * size <= min(_LARGEST, found[-1] * _FURTHER):
        if time.monotonic() + 2 * size * each > end:
            break
        size *= 2
        each = _seconds(probe, size, size * each) / size
        if each * _BETTER < best:
            best = each
            found.append(size)


def _within(probe: Callable[[int], None], working_bytes: int | None) -> Callable[[int], None]:
    """The probe, out of memory as soon as it takes more than ``working_bytes``."""
    if working_bytes is None:
        return probe
    peak_bytes, before_bytes = _memory()

    def checked(size: int) -> None:
        probe(size)
        if peak_bytes() - before_bytes > working_bytes:
            raise MemoryError

    return checked


def _memory() -> tuple[Callable[[], int], int]:
    """What tells the most memory taken from now on, and what is taken now; of GPU or process."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated, torch.cuda.memory_allocated()
    release_kept()  # it would hide what is taken
    with suppress(OSError):  # where it is forbidden, a peak of the past may hide one of now
        Path("/proc/self/clear_refs").write_text("5")
    return peak_resident_bytes, peak_resident_bytes()


def peak_resident_bytes() -> int:
    """The most memory that this process has had, as Linux tells it (``proc(5)``); 0 elsewhere."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return int(peak[1]) * 1024 if peak else 0


def _seconds(probe: Callable[[int], None], size: int, expected_s: float = math.inf) -> float:
    """The shortest of a few runs, or the only one where it takes long.

    A long one that is much slower than ``expected_s`` is run once more: what was loaded or compiled
    for its size is there then.
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

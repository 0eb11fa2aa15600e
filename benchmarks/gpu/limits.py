"""The device's limits: the speed of one large matrix product, and of one large copy in its memory.

They are measured, so that no table of devices is needed. They are some tenths below a vendor's
data sheet, and none of our kernels exceeds them by much.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.gpu.made import Run, wait
from benchmarks.gpu.outcomes import Figure, Named, Outcome
from models.device.hardware import Device, driver_version

ARITHMETIC, BANDWIDTH = "a matrix product", "a copy"
_ROUNDS, _LEAST_S = 10, 0.5  # a GPU takes a moment to reach its full clock rate


def peak_flops(device: Device, side: int | None = None) -> float:
    """Return operations per second of a large matrix product in the device's precision."""
    import torch

    side = side or (8192 if device.kind == "cuda" else 2048)
    left = torch.randn(side, side, device=device.kind, dtype=getattr(torch, device.dtype))
    return 2 * side**3 / _best(lambda: left @ left, device)


def peak_bandwidth(device: Device, size_bytes: int | None = None) -> float:
    """Return bytes per second that a large copy reads and writes."""
    import torch

    if size_bytes is None:
        size_bytes = 1 << 28
        if device.kind == "cuda":
            free_bytes, _ = torch.cuda.mem_get_info()
            size_bytes = min(1 << 32, free_bytes // 4)
    source = torch.ones(size_bytes, dtype=torch.uint8, device=device.kind)
    target = torch.empty_like(source)
    return 2 * size_bytes / _best(lambda: target.copy_(source), device)


def measure(run: Run) -> Iterator[Outcome]:
    """Yield the device's name, and both limits."""
    import torch

    device = run.device
    if device.kind == "cuda":
        yield Named("device", torch.cuda.get_device_name())
        yield Named("driver", driver_version())
    else:
        yield Named("device", "cpu")
    yield Named("torch", torch.__version__)
    yield Named("dtype", device.dtype)
    flops = peak_flops(device, 512 if run.small else None)
    yield Figure(ARITHMETIC, flops / 1e12, "TFLOP/s")
    bandwidth = peak_bandwidth(device, 1 << 24 if run.small else None)
    yield Figure(BANDWIDTH, bandwidth / 1e9, "GB/s")


def _best(call: Callable[[], Any], device: Device) -> float:
    best, rounds, end = float("inf"), 0, time.perf_counter() + _LEAST_S
    while rounds < _ROUNDS or time.perf_counter() < end:
        wait(device)
        start = time.perf_counter()
        call()
        wait(device)
        best = min(best, time.perf_counter() - start)
        rounds += 1
    return best

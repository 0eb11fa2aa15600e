"""Full-size models with random weights, created on the device; nothing is downloaded."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu.work import Limits
from models.device.hardware import Device


@dataclass(frozen=True)
class Run:
    """The settings of a part.

    Attributes:
        device: the device.
        small: whether to use tiny sizes, as a test that everything runs.
        limits: the device's limits, None if they are not known.
        folder: for files; it is removed afterwards.
    """

    device: Device
    small: bool
    limits: Limits | None
    folder: Path

    @property
    def flops(self) -> float | None:
        """The device's limit in operations per second."""
        return self.limits and self.limits.flops

    @property
    def bandwidth(self) -> float | None:
        """The device's limit in bytes per second."""
        return self.limits and self.limits.bandwidth


def randomly(make: Callable[[], Any], device: Device, dtype: Any) -> Any:
    """Call ``make`` with random weights created on the device, in the given precision."""
    import torch

    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device.kind):
            return make()
    finally:
        torch.set_default_dtype(usual)


def wait(device: Device) -> None:
    """Wait until the device has finished its work."""
    import torch

    if device.kind == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any], device: Device, rounds: int, warm: int = 1) -> float:
    """Return the median seconds of a few rounds, after warm-up rounds."""
    took = []
    for _ in range(warm + rounds):
        start = time.perf_counter()
        call()
        wait(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[warm:])


def forget(device: Device) -> None:
    """Free memory that is no longer used."""
    gc.collect()
    if device.kind == "cuda":
        import torch

        torch.cuda.empty_cache()

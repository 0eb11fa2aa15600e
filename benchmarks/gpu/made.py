"""Full-size models with random weights, made where they stay; nothing is downloaded."""

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
    """What a part is told.

    Attributes:
        device: where it runs.
        small: tiny sizes, to see that it runs at all.
        limits: of the device, None where they are not known.
        folder: for files; it is removed afterwards.
    """

    device: Device
    small: bool
    limits: Limits | None
    folder: Path

    @property
    def flops(self) -> float | None:
        """Operations a second that the device reaches."""
        return self.limits and self.limits.flops

    @property
    def bandwidth(self) -> float | None:
        """Bytes a second that the device reaches."""
        return self.limits and self.limits.bandwidth


def randomly(make: Callable[[], Any], device: Device, dtype: Any) -> Any:
    """What ``make`` makes, its weights drawn on the device and in that precision."""
    import torch

    usual = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device.kind):
            return make()
    finally:
        torch.set_default_dtype(usual)


def wait(device: Device) -> None:
    """Until the device has done what it was given."""
    import torch

    if device.kind == "cuda":
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any], device: Device, rounds: int, warm: int = 1) -> float:
    """The median of a few rounds, after some that are not counted."""
    took = []
    for _ in range(warm + rounds):
        start = time.perf_counter()
        call()
        wait(device)
        took.append(time.perf_counter() - start)
    return statistics.median(took[warm:])


def forget(device: Device) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if device.kind == "cuda":
        import torch

        torch.cuda.empty_cache()

"""What this machine has, found without importing an engine's library."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

_HEADROOM = 0.9  # of the memory, the rest is for the driver, activations of others, the OS


@dataclass(frozen=True)
class Device:
    """Where engines run.

    Attributes:
        kind: ``cuda`` or ``cpu``.
        memory_bytes: memory of the first GPU, or this process's share of RAM.
        bf16: whether bfloat16 arithmetic is native, so that it is worth using.
        wanted_dtype: what the operator wants instead of the device's own choice.
    """

    kind: str
    memory_bytes: int
    bf16: bool
    wanted_dtype: str | None = None

    @property
    def dtype(self) -> str:
        """The precision to compute in, as torch names it."""
        if self.wanted_dtype is not None:
            return self.wanted_dtype
        if self.bf16:
            return "bfloat16"
        return "float16" if self.kind == "cuda" else "float32"

    @property
    def budget_bytes(self) -> int:
        """Memory that models may take together."""
        return int(self.memory_bytes * _HEADROOM)


@functools.cache
def detect(wanted: str = "auto") -> Device:
    """Return the device to use: ``auto`` takes the GPU when there is one.

    Raises:
        ValueError: ``wanted`` is ``cuda`` and no GPU answers.
    """
    gpu = None if wanted == "cpu" else _first_gpu()
    if gpu is not None:
        return gpu
    if wanted == "cuda":
        raise ValueError("DEVICE=cuda, but no NVIDIA GPU answers on this machine")
    return Device("cpu", _ram_bytes(), bool({"avx512_bf16", "amx_bf16"} & _cpu_flags()))


def _first_gpu() -> Device | None:
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        if pynvml.nvmlDeviceGetCount() == 0:
            return None
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        major, _minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        return Device("cuda", int(total), bf16=major >= 8)  # Ampere brought bfloat16
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def driver_version() -> str:
    """The NVIDIA driver's, as ``570.86.15``; ``unknown`` where none says it."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return "unknown"
    try:
        return str(pynvml.nvmlSystemGetDriverVersion())
    except pynvml.NVMLError:
        return "unknown"
    finally:
        pynvml.nvmlShutdown()


def _ram_bytes() -> int:
    """RAM of the machine, or of the container where that is less (cgroup v2, then v1)."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        limit = Path(name)
        if limit.is_file():
            text = limit.read_text().strip()
            if text.isdigit():
                return min(total, int(text))
    return total


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():  # macOS: no native bfloat16 worth using in torch's CPU kernels
        return set()
    for line in info.read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()

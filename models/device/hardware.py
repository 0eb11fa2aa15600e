"""What this machine has, found without importing an engine's library."""

from __future__ import annotations

import functools
import os
from contextlib import suppress
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
        capability: the GPU's compute capability, which says for what kernels are built.
        name: the GPU's, as ``NVIDIA H100 80GB HBM3``.
    """

    kind: str
    memory_bytes: int
    bf16: bool
    wanted_dtype: str | None = None
    capability: tuple[int, int] | None = None
    name: str = ""

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
    try:
        import pynvml
    except ImportError:
        return _first_gpu_of_torch()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        if pynvml.nvmlDeviceGetCount() == 0:
            return None
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        total = pynvml.nvmlDeviceGetMemoryInfo(handle).total
        return Device(
            "cuda",
            int(total),
            bf16=major >= 8,  # Ampere brought it
            capability=(int(major), int(minor)),
            name=str(pynvml.nvmlDeviceGetName(handle)),
        )
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _first_gpu_of_torch() -> Device | None:
    """The same as torch tells it, where NVIDIA's own library is not installed."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_properties(0)
    capability = (int(found.major), int(found.minor))
    return Device("cuda", int(found.total_memory), capability[0] >= 8, None, capability, found.name)


def driver_version() -> str:
    """The NVIDIA driver's, as ``570.86.15``; ``unknown`` where none says it."""
    try:
        import pynvml
    except ImportError:
        return "unknown"
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


def available_bytes() -> int:
    """RAM that can be taken without swapping, of the machine or of this container's share.

    What files keep of it in the page cache counts as free: the kernel drops it when asked.
    """
    found = [_available_on_machine()]
    for group in _CGROUPS:
        with suppress(OSError, ValueError, KeyError):
            stat = dict(line.split() for line in Path(group.stat).read_text().splitlines())
            taken = int(Path(group.used).read_text()) - int(stat[group.cached])
            found.append(int(Path(group.limit).read_text()) - taken)
    return max(0, min(found))


@dataclass(frozen=True)
class _Group:
    """Where a control group says how much memory it may take, and has taken.

    Attributes:
        limit, used: files with a number, or a word where there is no limit.
        stat: a file of names and numbers.
        cached: the name there of what is in the page cache and idle.
    """

    limit: str
    used: str
    stat: str
    cached: str


_FOLDER = "/sys/fs/cgroup"
_CGROUPS = (  # version 2, version 1
    _Group(
        limit=f"{_FOLDER}/memory.max",
        used=f"{_FOLDER}/memory.current",
        stat=f"{_FOLDER}/memory.stat",
        cached="inactive_file",
    ),
    _Group(
        limit=f"{_FOLDER}/memory/memory.limit_in_bytes",
        used=f"{_FOLDER}/memory/memory.usage_in_bytes",
        stat=f"{_FOLDER}/memory/memory.stat",
        cached="total_inactive_file",
    ),
)


def _ram_bytes() -> int:
    """RAM of the machine, or of the container where that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _CGROUPS:
        with suppress(OSError, ValueError):
            return min(total, int(Path(group.limit).read_text()))
    return total


def _available_on_machine() -> int:
    """``MemAvailable`` of Linux; elsewhere what is free by ``sysconf``, or nothing."""
    with suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError):
        return 0


def _cpu_flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    if not info.is_file():  # macOS: no native bfloat16 worth using in torch's CPU kernels
        return set()
    for line in info.read_text().splitlines():
        if line.startswith("flags"):
            return set(line.partition(":")[2].split())
    return set()

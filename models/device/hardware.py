"""Detect this machine's device and memory without importing an engine's library."""

from __future__ import annotations

import functools
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")
_HEADROOM = 0.9  # share of the memory for models; the rest is for the driver, activations, the OS


@dataclass(frozen=True)
class Device:
    """The device that engines run on.

    Attributes:
        kind: ``cuda`` or ``cpu``.
        memory_bytes: memory of the first GPU, or this process's share of RAM.
        bf16: whether the device computes in bfloat16 natively.
        wanted_dtype: the operator's choice of precision; None = the device's default.
        capability: the GPU's compute capability, which determines the kernels it can run.
        name: the GPU's name, such as ``NVIDIA H100 80GB HBM3``.
    """

    kind: str
    memory_bytes: int
    bf16: bool
    wanted_dtype: str | None = None
    capability: tuple[int, int] | None = None
    name: str = ""

    @property
    def dtype(self) -> str:
        """The precision to compute in, by torch's name."""
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
    """Return the device to use; ``auto`` chooses the GPU if there is one.

    Raises:
        ValueError: ``wanted`` is ``cuda`` and no GPU responds.
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
            bf16=major >= 8,  # native since Ampere
            capability=(int(major), int(minor)),
            name=str(pynvml.nvmlDeviceGetName(handle)),
        )
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _first_gpu_of_torch() -> Device | None:
    """Return the first GPU as torch reports it, if NVIDIA's management library is missing."""
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    gpu = torch.cuda.get_device_properties(0)
    capability = (int(gpu.major), int(gpu.minor))
    return Device("cuda", int(gpu.total_memory), capability[0] >= 8, None, capability, gpu.name)


def driver_version() -> str:
    """Return the version of NVIDIA's driver, such as ``570.86.15``; ``unknown`` without one."""
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


def available_bytes(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Return the RAM that can be allocated without swapping, on the machine and in its container.

    Memory of the page cache counts as free: the kernel drops it on demand.
    """
    limits = [_available_on_machine(meminfo)]
    for group in _CGROUPS:
        with suppress(OSError, ValueError):
            stat = dict(line.split() for line in (cgroup / group.stat).read_text().splitlines())
            taken = int((cgroup / group.used).read_text()) - int(stat.get(group.cached, 0))
            limits.append(int((cgroup / group.limit).read_text()) - taken)
    return max(0, min(limits))


@dataclass(frozen=True)
class _Group:
    """The files of a control group that state its memory limit and use.

    Attributes:
        limit, used: files with a number of bytes, or with a word if there is no limit; they and
            ``stat`` lie in the folder of control groups.
        stat: a file of names and numbers.
        cached: the name in ``stat`` of the inactive part of the page cache.
    """

    limit: str
    used: str
    stat: str
    cached: str


_CGROUPS = (  # version 2, version 1
    _Group(
        limit="memory.max",
        used="memory.current",
        stat="memory.stat",
        cached="inactive_file",
    ),
    _Group(
        limit="memory/memory.limit_in_bytes",
        used="memory/memory.usage_in_bytes",
        stat="memory/memory.stat",
        cached="total_inactive_file",
    ),
)


def _ram_bytes() -> int:
    """Return the RAM of the machine, or the container's limit if that is lower."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _CGROUPS:
        with suppress(OSError, ValueError):
            return min(total, int((_CGROUP / group.limit).read_text()))
    return total


def _available_on_machine(meminfo: Path) -> int:
    """Return Linux's ``MemAvailable`` in bytes; elsewhere the free pages by ``sysconf``, or 0."""
    with suppress(OSError, ValueError):
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    if meminfo.parent.is_dir():  # a Linux that does not say
        return 0
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

"""The looks at the machine: its GPU, its driver, its shared memory, what it can keep."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from os import getuid
from pathlib import Path

from handler.findings import ERROR, OK, WARNING, Finding
from handler.settings.variables import Settings
from models.catalog import GB
from models.device import driver, hardware
from models.device.hardware import Device
from models.row import Row
from models.warm.loader import engine_class

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - it is looked at, and nothing is written
_LEAST_SHARED_BYTES = GB  # a container has 64 MB unless it is told otherwise


def machine(settings: Settings, rows: list[Row]) -> Iterator[Finding]:
    """Look at the device, and at what the models that are to run need of it."""
    device = hardware.detect(settings.device)
    yield from _device(device, settings)
    if device.kind != "cuda":
        return
    of_torch = driver.cuda_of_torch()
    drivers = list(_driver(hardware.driver_version(), of_torch, rows))
    yield from drivers
    if not any(finding.fatal for finding in drivers):  # torch may not even be asked then
        yield from _kernels(device, of_torch, rows)
    yield from _shared_memory(settings, rows)


def _device(device: Device, settings: Settings) -> Iterator[Finding]:
    size = f"{device.memory_bytes / GB:.0f} GB, computes in {settings.dtype or device.dtype}"
    if device.kind == "cuda":
        yield Finding(OK, "device", f"an NVIDIA GPU of {size}")
    elif settings.device == "cpu":
        yield Finding(OK, "device", f"the CPU, {size}")
    else:
        do = "choose a GPU for the endpoint, or set DEVICE=cpu where this is meant"
        yield Finding(WARNING, "device", f"no NVIDIA GPU answers: the CPU, {size}", do)


def _driver(version: str, of_torch: str | None, rows: list[Row]) -> Iterator[Finding]:
    """Whether it carries what the models run on; ctranslate2 is there without torch, or beside."""
    on_torch = [not runs_on("ctranslate2", row) for row in rows]
    if any(on_torch):
        if of_torch is None:
            do = "install a torch that is built with CUDA, or set DEVICE=cpu"
            yield Finding(WARNING, "driver", f"{version}, and no torch here knows CUDA", do)
        else:
            yield _carries("torch", of_torch, version)
    if not all(on_torch):
        cuda = driver.CUDA_OF_CTRANSLATE2
        finding = _carries("ctranslate2", cuda, version)
        if finding.level == OK and driver.is_doubtful(version):
            found = f"{version} may not run ctranslate2, built with CUDA {cuda}: a load will tell"
            do = f"let the endpoint use hosts with CUDA {cuda} or later only (allowedCudaVersions)"
            finding = Finding(WARNING, "driver", found, do)
        yield finding


def _kernels(device: Device, of_torch: str | None, rows: list[Row]) -> Iterator[Finding]:
    """Whether torch has kernels for the GPU; ctranslate2 tries itself when it loads."""
    if all(runs_on("ctranslate2", row) for row in rows):
        return
    complaint = driver.without_kernels(driver.architectures_of_torch(), device.capability, of_torch)
    if complaint is not None:
        yield _fatal("kernels", complaint)


def runs_on(library: str, row: Row) -> bool:
    """Whether a row's engine imports a library."""
    return library in engine_class(row).libraries


def _fatal(subject: str, complaint: str) -> Finding:
    """A finding of what is wrong and, after a colon, what to do."""
    found, _, do = complaint.partition(": ")
    return Finding(ERROR, subject, found, do, fatal=True)


def _shared_memory(settings: Settings, rows: list[Row]) -> Iterator[Finding]:
    """Whether the processes of a model on several GPUs can talk, which they do by shared memory."""
    if settings.gpu_count < 2 or not any(runs_on("vllm", row) for row in rows):
        return
    size = shutil.disk_usage(_SHARED_MEMORY).total if _SHARED_MEMORY.is_dir() else 0
    if size < _LEAST_SHARED_BYTES:
        found = f"{_SHARED_MEMORY} has {size / GB:.2f} GB for {settings.gpu_count} GPUs"
        do = "start the container with more (--shm-size=8g, or --ipc=host), or use one GPU"
        yield Finding(WARNING, "memory", found, do)


def kept(settings: Settings, environment: Mapping[str, str]) -> Iterator[Finding]:
    """Whether what is fetched and compiled can be kept where it is meant to be."""
    yield from volume(settings)
    compiled = environment.get("CUDA_CACHE_PATH")
    if compiled and not Path(compiled).is_dir():
        do = "make it: the driver does not, and compiles its kernels at each start"
        yield Finding(WARNING, "kernels", f"CUDA_CACHE_PATH: {compiled} is no folder", do)


def volume(settings: Settings) -> Iterator[Finding]:
    """Whether this user can write the volume, where there is one."""
    places = settings.places()
    if places.volume is not None and places.shelf != places.volume:
        found = f"{settings.volume_dir} cannot be written by user {getuid()}"
        do = f"let that user write {places.volume}; else all is fetched and compiled at each start"
        yield Finding(WARNING, "volume", found, do)


def _carries(library: str, cuda: str, version: str) -> Finding:
    complaint = driver.too_old(cuda, version)
    if complaint is None:
        return Finding(OK, "driver", f"{version}, {library} is built with CUDA {cuda}")
    return _fatal("driver", complaint)

"""Tests on a GPU: ``pytest -m gpu``. Each engine's output there against its own in float32 on the CPU.

Without an NVIDIA GPU all of them are skipped, for one reason. ``QUARTET_GPU_TESTS_ON=cpu`` has the
CPU play the GPU as well, so that the tests themselves can be tried anywhere; what they then say of
a GPU is nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.device import hardware
from models.device.hardware import Device
from models.device.memory import free_memory
from models.row import Row
from models.warm.loader import Loader
from tests.conftest import CPU

PLAYED = os.environ.get("QUARTET_GPU_TESTS_ON") == "cpu"
_REASON = pytest.StashKey[str]()


def _found() -> Device | str:
    """The GPU, or why there is none."""
    if PLAYED:
        return hardware.detect("cpu")
    device = hardware.detect()
    if device.kind != "cuda":
        return "no NVIDIA GPU answers on this machine"
    import torch

    if not torch.cuda.is_available():
        return f"this torch ({torch.__version__}) does not use this machine's GPU"
    return device


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What differs from tests elsewhere.

    A GPU's libraries have warnings of their own, and compile kernels for minutes at first use.
    """
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session", autouse=True)
def gpu(pytestconfig: pytest.Config) -> Device:
    """The GPU, which chooses its own precision."""
    found = _found()
    if isinstance(found, str):
        pytestconfig.stash[_REASON] = found
        pytest.skip(found)
    return found


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line for all that was skipped, also without ``-rs``."""
    if reason := config.stash.get(_REASON, None):
        terminalreporter.write_line(f"tests on a GPU were skipped: {reason}")


@pytest.fixture(scope="session")
def exact(gpu: Device) -> Device:
    """The GPU in float32."""
    return replace(gpu, wanted_dtype="float32")


@pytest.fixture
def ieee() -> Iterator[None]:
    """Convolutions round as float32 does; by default they may round to ten bits on a GPU (TF32)."""
    import torch

    # All of cuDNN's: it objects where its parts differ.
    cudnn = torch.backends.cudnn
    backends = [cudnn.conv, cudnn.rnn, torch.backends.cuda.matmul]
    usual = [one.fp32_precision for one in backends]
    for one in backends:
        one.fp32_precision = "ieee"
    yield
    for one, before in zip(backends, usual, strict=True):
        one.fp32_precision = before


@pytest.fixture(scope="module")
def on(gpu: Device, store: Any) -> Iterator[Callable[[Row, Device], Any]]:
    """Loads a row's engine on a device, once a module."""
    engines: dict[Any, Any] = {}

    def get(row: Row, device: Device) -> Any:
        key = (row.slug, device)
        if key not in engines:
            engines[key] = Loader(store, device)(row)
        return engines[key]

    yield get
    for engine in engines.values():
        engine.close()
    engines.clear()
    free_memory()


@pytest.fixture(scope="session")
def here() -> Device:
    """The CPU in float32."""
    return CPU


LIBRARIES = {
    "chat": ("transformers", "llguidance"),
    "images": ("diffusers", "PIL"),
    "embeddings": ("tokenizers",),
    "speech": ("transformers", "safetensors", "av"),
}


def need(surface: str) -> None:
    """Skip a test by the name of what an engine needs and this machine has not."""
    for library in LIBRARIES[surface]:
        pytest.importorskip(library, reason=f"{library} is not installed")
    if surface == "chat":
        import transformers

        from models.chat.in_process.paged import VERSION

        if not transformers.__version__.startswith(VERSION):
            pytest.skip(f"transformers {VERSION}x is needed, this is {transformers.__version__}")


def allocated_bytes(device: Device) -> int:
    """What tensors take on the device."""
    import gc

    import torch

    if device.kind == "cuda":
        return int(torch.cuda.memory_allocated())
    kinds = (torch.Tensor, torch.nn.Parameter)
    tensors = [
        one
        for one in gc.get_objects()
        if type(one) in kinds and one.device.type == "cpu" and one.layout is torch.strided
    ]
    return sum({one.data_ptr(): one.untyped_storage().nbytes() for one in tensors}.values())


@contextmanager
def scarce(device: Device, run: Callable[[], Any], share: float) -> Iterator[None]:
    """Leaves the device ``share`` of the memory that ``run`` takes, over what is taken already."""
    import torch

    if device.kind != "cuda":  # a CPU has no such limit
        yield
        return
    free_memory()
    before = torch.cuda.memory_reserved()
    torch.cuda.reset_peak_memory_stats()
    run()
    most = torch.cuda.max_memory_reserved() - before
    free_memory()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((before + share * most) / total)
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)

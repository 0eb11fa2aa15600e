"""The budget: measured, within the memory, and in little time."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from models.device import budget
from models.device.budget import measure


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


class Device:
    """Takes its own time, and has its own memory."""

    def __init__(self, seconds: Callable[[int], float], memory: int = 10**9) -> None:
        self.seconds = seconds
        self.memory = memory
        self.now = 0.0
        self.sizes: list[int] = []

    def probe(self, size: int) -> None:
        self.sizes.append(size)
        if size > self.memory:
            raise OutOfMemoryError
        self.now += self.seconds(size)


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Device]:
    def make(seconds: Callable[[int], float], memory: int = 10**9) -> Device:
        made = Device(seconds, memory)
        clock = SimpleNamespace(monotonic=lambda: made.now, perf_counter=lambda: made.now)
        monkeypatch.setattr(budget, "time", clock)
        return made

    return make


def test_a_device_with_a_fixed_cost_gets_large_runs(device):
    """As a GPU: a run takes 5 ms whatever it holds, until 4,096 fill it."""
    assert measure(device(lambda size: 0.005 * max(1, size / 4096)).probe) == 4096


def test_a_device_without_one_gets_small_runs(device):
    """As a CPU: twice as much takes twice as long."""
    assert measure(device(lambda size: size * 2e-5).probe) == 2048


def test_what_does_not_fit_is_not_chosen(device):
    assert measure(device(lambda size: 0.005, memory=5000).probe) == 4096


def test_what_never_fits_is_left_to_the_halving(device):
    assert measure(device(lambda size: 0.0, memory=900).probe) == 1024


@pytest.mark.parametrize("first_s", [0.1, 0.5, 3.0, 20.0])
@pytest.mark.parametrize("fixed_s", [0.0005, 0.002, 0.005])
def test_a_first_run_that_is_slow_does_not_count(device, first_s, fixed_s):
    """On a GPU it imports the kernels' module and makes the context: seconds."""

    def seconds(size: int) -> float:
        return fixed_s * max(1, size / 16_384)

    usual = measure(device(seconds).probe)
    late = device(lambda size: seconds(size) + (first_s if len(late.sizes) == 1 else 0.0))
    assert measure(late.probe) == usual == 16_384


def test_a_kernel_that_is_loaded_for_a_size_does_not_count(device):
    """cuBLAS chooses another for larger matrices, and CUDA loads it when it is first called."""

    def seconds(size: int) -> float:
        loaded = 0.04 if size > 4096 and lazy.sizes.count(size) == 1 else 0.0
        return 0.001 * max(1, size / 16_384) + loaded

    lazy = device(seconds)
    assert measure(lazy.probe) == 16_384


def test_a_slow_device_is_not_measured_for_long(device):
    slow = device(lambda size: size * 1e-3)
    assert measure(slow.probe, patience_s=0.5) == 1024
    assert slow.now < 3
    assert max(slow.sizes) == 1024


def test_a_device_that_takes_longer_than_the_patience_for_the_smallest_is_asked_once(device):
    """A CPU with a full-size model: each further run would be seconds of a start."""
    slow = device(lambda size: size * 1e-3)
    assert measure(slow.probe) == 1024
    assert slow.sizes.count(1024) == 1


def test_what_a_run_may_take_of_a_cpus_memory():
    def probe(size: int) -> None:
        bytearray(b"x") * (size * 40_000)

    assert measure(probe, working_bytes=110_000_000) in (1024, 2048)  # 41, 82; 164 MB is too much
    assert measure(probe, working_bytes=50_000_000) == 1024


def test_other_failures_are_not_hidden():
    def broken(size: int) -> None:
        if size > 1024:
            raise ValueError("no such kernel")

    with pytest.raises(ValueError, match="no such kernel"):
        measure(broken)

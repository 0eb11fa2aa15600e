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


def test_a_slow_device_is_not_measured_for_long(device):
    slow = device(lambda size: size * 1e-3)
    assert measure(slow.probe, patience_s=0.5) == 1024
    assert slow.now < 3
    assert set(slow.sizes) == {1024}


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

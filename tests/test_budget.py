"""The budget: measured, within the memory, and in little time."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from models.budget import measure


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def device(
    seconds: Callable[[int], float], memory: int = 10**9
) -> tuple[Callable[[int], None], list[int]]:
    sizes: list[int] = []

    def probe(size: int) -> None:
        sizes.append(size)
        if size > memory:
            raise OutOfMemoryError
        time.sleep(seconds(size))

    return probe, sizes


def test_a_device_with_a_fixed_cost_gets_large_runs():
    """As a GPU: a run takes 5 ms whatever it holds, until 4,096 fill it."""
    probe, _ = device(lambda size: 0.005 * max(1, size / 4096))
    assert measure(probe, patience_s=5) in (4096, 8192)


def test_a_device_without_one_gets_small_runs():
    """As a CPU: twice as much takes twice as long."""
    probe, _ = device(lambda size: size * 2e-5)
    assert measure(probe, patience_s=5) in (1024, 2048)


def test_what_does_not_fit_is_not_chosen():
    probe, _ = device(lambda size: 0.005, memory=5000)
    assert measure(probe) == 4096


def test_what_never_fits_is_left_to_the_halving():
    probe, _ = device(lambda size: 0.0, memory=1500)
    assert measure(probe) == 1024


def test_a_slow_device_is_not_measured_for_long():
    probe, sizes = device(lambda size: size * 1e-3)
    start = time.monotonic()
    assert measure(probe, patience_s=0.5) == 1024
    assert time.monotonic() - start < 3
    assert set(sizes) == {1024}


def test_other_failures_are_not_hidden():
    def broken(size: int) -> None:
        if size > 1024:
            raise ValueError("no such kernel")

    with pytest.raises(ValueError, match="no such kernel"):
        measure(broken)

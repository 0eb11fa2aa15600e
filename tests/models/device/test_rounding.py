"""Round sizes: few of them, and none much larger than what was asked."""

from __future__ import annotations

from models.device.rounding import rounded


def test_a_round_size_is_at_most_an_eighth_more():
    for size in range(1, 10_000):
        assert size <= rounded(size) <= size * 9 / 8


def test_there_are_eight_between_a_power_of_two_and_the_next():
    assert len({rounded(size) for size in range(1025, 2049)}) == 8


def test_what_is_round_stays():
    assert [rounded(size) for size in (1, 15, 64, 1152, 2048)] == [1, 15, 64, 1152, 2048]

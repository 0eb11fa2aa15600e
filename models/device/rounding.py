"""Round the sizes of packed runs."""

from __future__ import annotations


def rounded(size: int) -> int:
    """Return the next round size, which is at most an eighth larger.

    A device's library prepares itself for each new size, and caches a limited number of sizes.
    There are 8 round sizes between two powers of two, so new ones soon become rare.
    """
    step = max(1, (1 << (size.bit_length() - 1)) // 8)
    return -(-size // step) * step

"""Round sizes for a run that is packed."""

from __future__ import annotations


def rounded(size: int) -> int:
    """The next round size, at most an eighth more.

    A device's library prepares itself for every size that it has not seen, and has room for some;
    there are 8 round ones between a power of two and the next, so that soon none is new.
    """
    step = max(1, (1 << (size.bit_length() - 1)) // 8)
    return -(-size // step) * step

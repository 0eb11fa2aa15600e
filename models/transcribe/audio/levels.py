"""How loud a recording is, whatever its length: the level that its loud moments reach.

The single loudest sample would be that of a click.
"""

from __future__ import annotations

from array import array
from collections import Counter

FULL_SCALE = 32768
_WINDOW = 512  # samples: 32 ms
_LOUD_WINDOWS = 10  # 0.3 s: a word
_SHARE = 4  # of a shorter recording, a quarter
_STRIDE = 4  # every fourth sample is enough to know a peak


def decibels(level: float) -> float:
    """Return the amplitude of a level in dBFS: ``decibels(-20)`` is 0.1."""
    return float(10 ** (level / 20))


def peak(block: bytes, code: str = "h") -> float:
    """Return the largest amplitude of some samples, measured at every fourth of them.

    Args:
        block: samples of one channel.
        code: their type, as ``array`` names it.
    """
    samples = array(code, block)[::_STRIDE]
    return float(max(max(samples), -min(samples))) if samples else 0.0


class Level:
    """The peak that a third of a second of a recording reaches, as a share of full scale.

    Args:
        enough: from which level on it does not matter how much louder the recording is; measuring
            stops there.
    """

    def __init__(self, enough: float) -> None:
        self._enough = enough * FULL_SCALE
        self._peaks = Counter[int]()
        self._loud = 0
        self._rest = bytearray()

    def add(self, block: bytes) -> None:
        """Measure signed 16-bit samples; blocks of any length."""
        if self.is_enough:
            return
        self._rest += block
        whole = len(self._rest) // (2 * _WINDOW) * 2 * _WINDOW
        for start in range(0, whole, 2 * _WINDOW):
            self._note(bytes(self._rest[start : start + 2 * _WINDOW]))
        del self._rest[:whole]

    @property
    def is_enough(self) -> bool:
        """Whether it is known to be loud enough."""
        return self._loud >= _LOUD_WINDOWS

    @property
    def value(self) -> float:
        """The level of what has been added, 0 for digital silence; at least ``enough`` if loud."""
        if not self._peaks:
            return peak(bytes(self._rest)) / FULL_SCALE
        wanted = min(_LOUD_WINDOWS, max(1, self._peaks.total() // _SHARE))
        for amplitude in sorted(self._peaks, reverse=True):
            wanted -= self._peaks[amplitude]
            if wanted <= 0:
                return amplitude / FULL_SCALE
        return 0.0

    def _note(self, window: bytes) -> None:
        silent = window.count(0) == len(window)
        amplitude = 0 if silent else round(peak(window))
        self._peaks[amplitude] += 1
        self._loud += amplitude >= self._enough

"""The loudness of a recording: the level that its loud moments reach.

The single loudest sample will not do: it may be a click.
"""

from __future__ import annotations

from array import array
from collections import Counter

FULL_SCALE = 32768
_WINDOW = 512  # samples: 32 ms
_LOUD_WINDOWS = 10  # about 0.3 s, the length of a word
_SHARE = 4  # of a short recording, the loudest quarter of the windows
_STRIDE = 4  # a peak is measured at every fourth sample


def decibels(level: float) -> float:
    """Return the amplitude of a level in dBFS, as a share of full scale: 0.1 for -20."""
    return float(10 ** (level / 20))


def peak(block: bytes, code: str = "h") -> float:
    """Return the largest amplitude of some samples, measured at every fourth of them.

    Args:
        block: samples of one channel.
        code: their type, as a type code of ``array``.
    """
    samples = array(code, block)[::_STRIDE]
    return float(max(max(samples), -min(samples))) if samples else 0.0


class Level:
    """The peak level of the loudest third of a second of a recording, as a share of full scale.

    Args:
        enough: the level at which measuring stops, as a share of full scale.
    """

    def __init__(self, enough: float) -> None:
        self._enough = enough * FULL_SCALE
        self._peaks = Counter[int]()
        self._loud = 0
        self._rest = bytearray()

    def add(self, block: bytes) -> None:
        """Measure signed 16-bit samples, in blocks of any length."""
        if self.is_enough:
            return
        self._rest += block
        whole = len(self._rest) // (2 * _WINDOW) * 2 * _WINDOW
        for start in range(0, whole, 2 * _WINDOW):
            self._note(bytes(self._rest[start : start + 2 * _WINDOW]))
        del self._rest[:whole]

    @property
    def is_enough(self) -> bool:
        """Whether the recording reaches the level ``enough``."""
        return self._loud >= _LOUD_WINDOWS

    @property
    def value(self) -> float:
        """The level of the samples so far, 0 for digital silence; at least ``enough`` if loud."""
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

"""Stretches of audio on disk, concatenated, and read piece by piece."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from models.transcribe.audio.rate import RATE_HZ

Span = tuple[int, int]  # the first sample, and the sample after the last


class Samples:
    """Some spans of a recording, concatenated.

    Args:
        whole: int16, shape (n,); an array, or a ``models.transcribe.audio.decoding.Spool``.
        spans: in order, not overlapping; None = the whole recording.
    """

    def __init__(self, whole: Any, spans: Sequence[Span] | None = None) -> None:
        self._whole = whole
        self._spans = [(0, len(whole))] if spans is None else list(spans)
        self._ends = list(accumulate(end - start for start, end in self._spans))

    def __len__(self) -> int:
        """The number of samples."""
        return self._ends[-1] if self._ends else 0

    def offset(self, seconds: float, *, ends: bool = False) -> float:
        """Return what to add to a time in the concatenated spans to get the recording's, in s.

        Args:
            seconds: the time in the concatenated spans.
            ends: whether the time is the end of something. Where two spans meet, an end belongs to
                the first, and a start to the second.
        """
        sample = round(seconds * RATE_HZ)
        index = (bisect_left if ends else bisect_right)(self._ends, sample)
        index = min(index, len(self._spans) - 1)
        begin = self._ends[index - 1] if index else 0
        return (self._spans[index][0] - begin) / RATE_HZ

    def cut(self, start: int, end: int) -> Any:
        """Return the samples from ``start`` to ``end`` as float32 in [-1, 1)."""
        import numpy as np

        pieces = []
        index = bisect_right(self._ends, start)
        while index < len(self._spans) and start < end:
            first, _ = self._spans[index]
            begin = self._ends[index - 1] if index else 0
            stop = min(end, self._ends[index])
            pieces.append(self._whole[first + start - begin : first + stop - begin])
            start, index = stop, index + 1
        joined = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        return joined.astype(np.float32) / np.float32(32768.0)

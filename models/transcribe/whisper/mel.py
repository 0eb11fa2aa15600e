"""The log-mel spectrogram of a recording, computed on demand.

faster-whisper computes one array of all frames: 115 MB per hour, and more while it does. It reads
30 s at a time. This class computes the same frames when they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from models.transcribe.audio.samples import Samples

_BLOCK_FRAMES = 6000


class Mel:
    """Acts as the array of shape (mels, frames), float32.

    Args:
        samples: the recording.
        extractor: faster-whisper's feature extractor; its filters are used.
    """

    def __init__(self, samples: Samples, extractor: Any) -> None:
        self._look: Callable[[], None] | None = None
        self._samples = samples
        self._extractor = extractor
        self.hop: int = extractor.hop_length
        # The library pads by one hop, and drops the last frame.
        frames = len(samples) // self.hop + 1
        self.shape: tuple[int, int] = (extractor.mel_filters.shape[0], frames)
        self._floor: float | None = None

    @contextmanager
    def watched(self, look: Callable[[], None]) -> Iterator[None]:
        """In the block, call ``look`` before frames are computed; it may raise to end the work."""
        self._look = look
        try:
            yield
        finally:
            self._look = None  # it refers to the request, whose part has this spectrum: a cycle

    def prepare(self) -> None:
        """Find the largest value, from which the floor follows; reads the recording once."""
        loudest = [
            float(self._raw(start, min(start + _BLOCK_FRAMES, self.shape[1])).max())
            for start in range(0, self.shape[1], _BLOCK_FRAMES)
        ]
        self._floor = max(loudest) - 8.0

    def __getitem__(self, where: tuple[slice, slice]) -> Any:
        """Return frames, as ``[:, first:last]``."""
        import numpy as np

        if self._look is not None:
            self._look()
        start, stop, _ = where[1].indices(self.shape[1])
        if self._floor is None:
            self.prepare()
        if start >= stop:
            return np.zeros((self.shape[0], 0), np.float32)
        return (np.maximum(self._raw(start, stop), np.float32(self._floor)) + 4.0) / 4.0

    def _raw(self, start: int, stop: int) -> Any:
        """Return the logarithms of the filters' output, before the floor is applied."""
        import numpy as np

        extractor = self._extractor
        hop, width = extractor.hop_length, extractor.n_fft
        half, length = width // 2, len(self._samples) + hop
        first, last = start * hop - half, (stop - 1) * hop + half
        known = self._samples.cut(max(0, first), min(last, len(self._samples)))
        within = min(last, length) - max(0, first)
        padded = np.pad(known, (0, within - len(known)))
        left, right = max(0, -first), max(0, last - length)
        if left or right:
            padded = np.pad(padded, (left, right), mode="reflect")
        window: Any = np.hanning(width + 1)[:-1].astype("float32")
        spectrum = extractor.stft(
            padded, width, hop, window=window, center=False, return_complex=True
        ).astype("complex64")
        powers = np.abs(spectrum) ** 2
        return np.log10(np.clip(extractor.mel_filters @ powers, a_min=1e-10, a_max=None))

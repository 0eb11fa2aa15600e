"""Convert decoded frames of any format to one channel of signed 16-bit samples.

The samples of plain recordings are identical to those of faster-whisper's ``decode_audio``. If the
two channels of stereo cancel each other, for example because one has inverted polarity, the louder
channel is used instead of the mix.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.transcribe.audio.levels import FULL_SCALE, decibels, peak
from models.transcribe.audio.rate import RATE_HZ

_LONGEST_PIECE_S = 10.0
_STRETCH_S = 0.25  # the length of audio for which mix or channel is chosen
# The level of the mix relative to the louder channel, below which the channels cancel each other.
# Two voices at the same level mix to a half; a channel and its inverse, 20 % quieter, to a tenth.
_CANCELLED = decibels(-20)
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}


class Mixer:
    """Resamples and mixes the frames of one track.

    Args:
        gain: factor of the samples; 1 leaves them unchanged.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self._gain = gain
        self._format = "s16" if gain == 1.0 else "flt"
        self._code = "h" if gain == 1.0 else "f"
        self._form: tuple[str, str, int] | None = None
        self._mix: Any = None
        self._alone: dict[int, Any] = {}  # resamplers of single channels, while the mix cancels out
        self._held: list[Any] = []
        self._held_s = 0.0
        self._mixed = bytearray()
        self._averages = self._is_stereo = False

    def mixed(self, frame: Any) -> Iterator[bytes]:
        """Yield the samples of a frame; some samples of stereo come with later frames."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        frame.pts = None  # the resampler would fill gaps in the timestamps
        if form != self._form:  # the format may change within a file
            yield from self.rest()
            self._form, self._mix = form, self._resampler()
            self._averages = not self._can_mix(frame)
            self._is_stereo = frame.layout.nb_channels == 2 and _packed_name(frame) in _TYPES
        for piece in _pieces(frame):
            if self._averages:
                yield from self._output(self._mix, _averaged(piece))
            elif self._is_stereo:
                yield from self._hold(piece)
            else:
                yield from self._output(self._mix, piece)

    def rest(self) -> Iterator[bytes]:
        """Yield the remaining samples; the next frame starts afresh."""
        if self._mix is None:
            return
        self._mixed += b"".join(self._raw(self._mix, None))
        yield from self._decided(last=True)
        self._form = self._mix = None

    def _resampler(self) -> Any:
        import av

        return av.AudioResampler(format=self._format, layout="mono", rate=RATE_HZ)

    def _can_mix(self, frame: Any) -> bool:
        """Return whether FFmpeg can mix the channels; with nine or more it may not."""
        import av

        try:
            self._resampler().resample(next(_pieces(frame)))
        except av.error.ArgumentError:
            return False
        return True

    def _hold(self, piece: Any) -> Iterator[bytes]:
        """Mix a piece of stereo, and keep it until its stretch is decided."""
        self._held.append(piece)
        self._held_s += piece.samples / piece.sample_rate
        self._mixed += b"".join(self._raw(self._mix, piece))
        if self._held_s >= _STRETCH_S:
            yield from self._decided()

    def _decided(self, *, last: bool = False) -> Iterator[bytes]:
        """Yield a stretch: the mix, or the louder channel if the mix cancels out."""
        mix, held = bytes(self._mixed), self._held
        self._mixed, self._held, self._held_s = bytearray(), [], 0.0
        channel = self._louder(held, mix)
        if channel is None:
            self._alone = {}
        else:
            resampler = self._alone.setdefault(channel, self._resampler())
            samples = b"".join(
                block for piece in held for block in self._raw(resampler, _channel(piece, channel))
            )
            if last:
                samples += b"".join(self._raw(resampler, None))
            # A new resampler holds some samples back, as that of the mix did at its start.
            mix = samples[-len(mix) :].rjust(len(mix), b"\0") if mix else mix
        if mix:
            yield self._scaled(mix)

    def _louder(self, held: list[Any], mix: bytes) -> int | None:
        """Return the channel that is much louder than the mix; None if neither is."""
        if not held or not mix:
            return None
        mixed = peak(mix, self._code) / (1.0 if self._code == "f" else FULL_SCALE)
        if mixed >= _CANCELLED:  # at most full scale, no channel can be loud enough
            return None
        loud = [_peak_of(held, channel) for channel in (0, 1)]
        louder = loud.index(max(loud))
        return louder if mixed < _CANCELLED * loud[louder] else None

    def _output(self, resampler: Any, frame: Any) -> Iterator[bytes]:
        yield from map(self._scaled, self._raw(resampler, frame))

    def _raw(self, resampler: Any, frame: Any) -> Iterator[bytes]:
        for block in resampler.resample(frame):
            size = block.format.bytes * block.samples
            yield bytes(block.planes[0])[:size]  # a plane may have padding

    def _scaled(self, block: bytes) -> bytes:
        if self._gain == 1.0:
            return block
        import numpy as np

        samples = np.frombuffer(block, np.float32) * (self._gain * FULL_SCALE)
        return bytes(np.clip(np.rint(samples), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16))


def _pieces(frame: Any) -> Iterator[Any]:
    """Split a long frame into pieces: one of FLAC at 1 Hz may have 18 hours, 2 GB resampled."""
    most = max(1, int(_LONGEST_PIECE_S * frame.sample_rate))
    if frame.samples <= most:
        yield frame
        return
    import av

    fifo = av.AudioFifo()
    fifo.write(frame)
    while (piece := fifo.read(most, partial=True)) is not None:
        yield piece


def _packed_name(frame: Any) -> str:
    return str(frame.format.packed.name)


def _samples(frame: Any, channel: int) -> Any:
    """Return the samples of one channel of a frame as an array."""
    import numpy as np

    kind, planes = _TYPES[_packed_name(frame)], frame.planes
    if frame.format.is_planar:
        return np.frombuffer(planes[channel], kind)[: frame.samples]
    channels = len(frame.layout.channels)
    return np.frombuffer(planes[0], kind)[: channels * frame.samples][channel::channels]


def _peak_of(frames: list[Any], channel: int) -> float:
    """Return the largest amplitude of a channel, as a share of full scale."""
    import numpy as np

    samples = np.concatenate([_samples(frame, channel) for frame in frames])
    return float(np.abs(_shares(samples)).max(initial=0.0))


def _shares(samples: Any) -> Any:
    """Return samples as shares of full scale."""
    import numpy as np

    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    return samples


def _channel(frame: Any, channel: int) -> Any:
    """Return one channel of a frame as a mono frame."""
    import av

    alone = av.AudioFrame(_packed_name(frame), "mono", frame.samples)
    alone.sample_rate = frame.sample_rate
    plane = alone.planes[0]
    plane.update(_samples(frame, channel).tobytes().ljust(plane.buffer_size, b"\0"))
    return alone


def _averaged(frame: Any) -> Any:
    """Return the mean of all channels as a mono frame."""
    import av
    import numpy as np

    samples = _shares(frame.to_ndarray())
    channels = (
        samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T
    )
    mean = channels.mean(axis=0, dtype=np.float32, keepdims=True)
    alone = av.AudioFrame.from_ndarray(mean, "fltp", "mono")
    alone.sample_rate = frame.sample_rate
    return alone

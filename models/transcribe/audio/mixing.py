"""Decoded frames of any form, as one channel of signed 16-bit samples.

Plain recordings come out as by faster-whisper's own ``decode_audio``, sample for sample. Where
the two channels of stereo cancel each other, as when one of them has its poles exchanged, the
louder one is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.transcribe.audio.levels import FULL_SCALE, decibels, peak
from models.transcribe.audio.rate import RATE_HZ

_LONGEST_PIECE_S = 10.0
_STRETCH_S = 0.25  # for which it is decided whether the channels cancel each other
# Of the mix to the louder channel: two voices at the same level are mixed to half of it; a channel
# and the same with its poles exchanged, 20 % softer, to a tenth.
_CANCELLED = decibels(-20)
_TYPES = {"u8": "u1", "s16": "i2", "s32": "i4", "flt": "f4", "dbl": "f8"}


class Mixer:
    """Resamples and mixes the frames of one track.

    Args:
        gain: by which samples are multiplied; 1 = they are left as they are.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self._gain = gain
        self._format = "s16" if gain == 1.0 else "flt"
        self._code = "h" if gain == 1.0 else "f"
        self._form: tuple[str, str, int] | None = None
        self._mix: Any = None
        self._alone: dict[int, Any] = {}  # resamplers of a channel, while the mix is cancelled
        self._held: list[Any] = []
        self._held_s = 0.0
        self._mixed = bytearray()
        self._averages = self._is_stereo = False

    def mixed(self, frame: Any) -> Iterator[bytes]:
        """Yield what a frame makes; of stereo, some of it comes with later ones."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        frame.pts = None  # the resampler would follow it
        if form != self._form:  # it may change amid a file
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
        """Yield what is left; the next frame begins anew."""
        if self._mix is None:
            return
        self._mixed += b"".join(self._raw(self._mix, None))
        yield from self._decided(last=True)
        self._form = self._mix = None

    def _resampler(self) -> Any:
        import av

        return av.AudioResampler(format=self._format, layout="mono", rate=RATE_HZ)

    def _can_mix(self, frame: Any) -> bool:
        """Return whether FFmpeg knows how to mix the channels; of nine and more it may not."""
        import av

        try:
            self._resampler().resample(next(_pieces(frame)))
        except av.error.ArgumentError:
            return False
        return True

    def _hold(self, piece: Any) -> Iterator[bytes]:
        """Mix a piece of stereo; it is kept until its stretch is decided."""
        self._held.append(piece)
        self._held_s += piece.samples / piece.sample_rate
        self._mixed += b"".join(self._raw(self._mix, piece))
        if self._held_s >= _STRETCH_S:
            yield from self._decided()

    def _decided(self, *, last: bool = False) -> Iterator[bytes]:
        """Yield a stretch: the mix, or the louder channel where that is cancelled."""
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
            # A resampler that has just begun holds some samples back, as the mix's has done before.
            mix = samples[-len(mix) :].rjust(len(mix), b"\0") if mix else mix
        if mix:
            yield self._scaled(mix)

    def _louder(self, held: list[Any], mix: bytes) -> int | None:
        """Return the channel that is much louder than the mix of both; None where neither is."""
        if not held or not mix:
            return None
        mixed = peak(mix, self._code) / (1.0 if self._code == "f" else FULL_SCALE)
        if mixed >= _CANCELLED:  # no channel can be so much louder
            return None
        loud = [_peak_of(held, channel) for channel in (0, 1)]
        louder = loud.index(max(loud))
        return louder if mixed < _CANCELLED * loud[louder] else None

    def _output(self, resampler: Any, frame: Any) -> Iterator[bytes]:
        yield from map(self._scaled, self._raw(resampler, frame))

    def _raw(self, resampler: Any, frame: Any) -> Iterator[bytes]:
        for block in resampler.resample(frame):
            size = block.format.bytes * block.samples
            yield bytes(block.planes[0])[:size]  # a plane may be longer

    def _scaled(self, block: bytes) -> bytes:
        if self._gain == 1.0:
            return block
        import numpy as np

        samples = np.frombuffer(block, np.float32) * (self._gain * FULL_SCALE)
        return bytes(np.clip(np.rint(samples), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16))


def _pieces(frame: Any) -> Iterator[Any]:
    """Yield a frame, in pieces if it is long: of FLAC at 1 Hz one has 18 hours, 2 GB resampled."""
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
    """Return the samples of a channel, as an array."""
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
    """Return a channel of a frame, as a frame of its own."""
    import av

    alone = av.AudioFrame(_packed_name(frame), "mono", frame.samples)
    alone.sample_rate = frame.sample_rate
    plane = alone.planes[0]
    plane.update(_samples(frame, channel).tobytes().ljust(plane.buffer_size, b"\0"))
    return alone


def _averaged(frame: Any) -> Any:
    """Return the mean of all channels, as a frame of one."""
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

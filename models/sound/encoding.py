"""Samples as a file, whole or as they come: mp3, opus in ogg, aac in ADTS, flac, wav, raw samples.

A whole file has all that a player wants at its front: the length of a wav and a flac, the delay and
the padding of an mp3. A file that leaves as it is made has neither, as nobody knows its length.
Nothing is written about what is said.
"""

from __future__ import annotations

import io
import weakref
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from models.sound import wav
from models.sound.formats import FORMATS

_CODECS = {"mp3": "libmp3lame", "opus": "libopus", "aac": "aac", "flac": "flac"}
_CONTAINERS = {"mp3": "mp3", "opus": "ogg", "aac": "adts", "flac": "flac"}
_OPTIONS = {"fflags": "+bitexact", "flush_packets": "1"}  # no names of programs, nothing held back
_PAGE_US = "100000"  # of ogg: what leaves at once
_FULL_SCALE = 32767


@dataclass(frozen=True)
class Shape:
    """What an encoder takes, and what it makes.

    Attributes:
        source_hz: rate of the samples that come.
        rate_hz: rate of the file.
        channels: one or two.
        bits: of a second of mp3, opus or aac; None = those of ``FORMATS``.
    """

    source_hz: int
    rate_hz: int
    channels: int = 1
    bits: int | None = None

    @property
    def layout(self) -> str:
        """As ffmpeg calls it."""
        return "mono" if self.channels == 1 else "stereo"


def encoder(
    format_: str,
    source_hz: int,
    rate_hz: int,
    *,
    streamed: bool,
    channels: int = 1,
    bits: int | None = None,
) -> Encoder:
    """Return an encoder for the sound of one request.

    Args:
        format_: of ``FORMATS``.
        source_hz: rate of the samples that come.
        rate_hz: rate of the file.
        streamed: whether bytes leave as they are made; else all of them come last.
        channels: one or two.
        bits: of a second of mp3, opus or aac; None = those of ``FORMATS``.
    """
    kind = Raw if format_ in {"wav", "pcm"} else Coded
    return kind(format_, Shape(source_hz, rate_hz, channels, bits), streamed)


class Encoder(ABC):
    """Samples go in, bytes come out; see ``encoder``."""

    def __init__(self, shape: Shape, streamed: bool) -> None:
        self._shape = shape
        self._streamed = streamed
        self._samples = 0

    @property
    def duration_s(self) -> float:
        """How long the sound is so far."""
        return self._samples / self._shape.source_hz

    def push(self, samples: Any) -> bytes:
        """Add samples, and return what may leave.

        Args:
            samples: float32 within full scale, of shape (samples,) or (samples, channels).
        """
        import numpy as np

        self._samples += len(samples)
        whole = np.clip(np.rint(samples * _FULL_SCALE), -_FULL_SCALE, _FULL_SCALE)
        if len(whole):
            self._write(whole.astype("<i2"))
        return self._taken() if self._streamed else b""

    @abstractmethod
    def close(self) -> bytes:
        """Return what is left: of a whole file, all of it."""

    @abstractmethod
    def _write(self, samples: Any) -> None:
        """Encode samples of 16 bits."""

    @abstractmethod
    def _taken(self) -> bytes:
        """Return what has been made since the last time."""


class Raw(Encoder):
    """Samples as they are, with a header if it is a wav."""

    def __init__(self, format_: str, shape: Shape, streamed: bool) -> None:
        super().__init__(shape, streamed)
        self._headed = format_ == "wav"
        self._content = bytearray(self._header(None) if self._headed and streamed else b"")
        self._resampler = None if shape.source_hz == shape.rate_hz else _resampler(shape)

    def close(self) -> bytes:
        """Return what is left, behind a header that knows its length where it is not gone yet."""
        if self._resampler is not None:
            self._add(self._resampler.resample(None))
        content = self._taken()
        whole = self._headed and not self._streamed
        return self._header(len(content)) + content if whole else content

    def _header(self, data_bytes: int | None) -> bytes:
        return wav.header(self._shape.rate_hz, data_bytes, self._shape.channels)

    def _write(self, samples: Any) -> None:
        if self._resampler is None:
            self._content += samples.tobytes()
        else:
            self._add(self._resampler.resample(_frame(samples, self._shape)))

    def _add(self, frames: Any) -> None:
        for frame in frames:
            self._content += frame.to_ndarray().tobytes()

    def _taken(self) -> bytes:
        content = bytes(self._content)
        self._content.clear()
        return content


class _Sink:
    """A file that cannot be rewound: what is written is taken at once."""

    def __init__(self) -> None:
        self.content = bytearray()

    def write(self, content: bytes) -> int:
        self.content += content
        return len(content)


class Coded(Encoder):
    """What a library of ffmpeg's encodes; it changes the rate, too."""

    def __init__(self, format_: str, shape: Shape, streamed: bool) -> None:
        import av

        super().__init__(shape, streamed)
        self._sink: Any = _Sink() if streamed else io.BytesIO()
        options = dict(_OPTIONS)
        if format_ == "mp3":
            options |= {"id3v2_version": "0", "write_xing": "0" if streamed else "1"}
        if format_ == "opus":
            options |= {"page_duration": _PAGE_US}
        self._container = av.open(
            self._sink, "w", format=_CONTAINERS[format_], container_options=options
        )
        # An open container and its stream refer to each other: one that nobody ends is closed, too.
        weakref.finalize(self, self._container.close).atexit = False
        self._stream = self._container.add_stream(
            _CODECS[format_], rate=shape.rate_hz, layout=shape.layout
        )
        if FORMATS[format_].bits is not None:
            usual = FORMATS[format_].bits_at(shape.rate_hz)
            self._stream.codec_context.bit_rate = shape.bits or usual

    def close(self) -> bytes:
        """Return what is left."""
        self._container.mux(self._stream.encode(None))
        self._container.close()
        return self._taken()

    def _write(self, samples: Any) -> None:
        self._container.mux(self._stream.encode(_frame(samples, self._shape)))

    def _taken(self) -> bytes:
        if not self._streamed:
            content: bytes = self._sink.getvalue()
            return content
        content = bytes(self._sink.content)
        self._sink.content.clear()
        return content


def _resampler(shape: Shape) -> Any:
    import av

    return av.AudioResampler(format="s16", layout=shape.layout, rate=shape.rate_hz)


def _frame(samples: Any, shape: Shape) -> Any:
    import av

    frame = av.AudioFrame.from_ndarray(samples.reshape(1, -1), "s16", shape.layout)
    frame.sample_rate = shape.source_hz
    return frame

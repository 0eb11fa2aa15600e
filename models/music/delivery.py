"""The bit rate in which songs fit an answer, chosen before they are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidValue
from models.leniency import Leniency
from models.music.request import Output
from models.sound.encoding import encoder
from models.sound.formats import FORMATS

CHANNELS = 2
# Bits a second of two channels, from the best.
LADDERS: dict[str, Sequence[int]] = {
    "mp3": (192_000, 128_000, 96_000, 64_000),
    "aac": (192_000, 128_000, 96_000, 64_000),
    "opus": (128_000, 96_000, 64_000, 48_000),
}
_MOST_BITS_PER_HZ = 4  # of each channel: a low rate has no use for many bits
_GOOD = 96_000  # an answer that should be small, and need not, has at least so many
_MARGIN = 1.06  # encoders miss their rate, and files have headers
_ENVELOPE_BYTES = 3000  # of an answer around its songs
_BASE64 = 4 / 3
_BUCKET = "for a link, give an s3Config with the job, or set the BUCKET_ variables of the endpoint"


@dataclass(frozen=True)
class Encoding:
    """How a song is written.

    Attributes:
        format: of ``models.sound.formats.FORMATS``.
        source_hz: rate of the model's samples.
        rate_hz: rate of the file.
        bits: of a second, of a format that has a ladder of them.
    """

    format: str
    source_hz: int
    rate_hz: int
    bits: int | None = None

    def write(self, sound: Any) -> bytes:
        """Return the file of a song; ``sound`` is float32 of shape (channels, samples)."""
        writer = encoder(
            self.format,
            self.source_hz,
            self.rate_hz,
            streamed=False,
            channels=CHANNELS,
            bits=self.bits,
        )
        for start in range(0, sound.shape[1], self.source_hz):  # a second: a song is large
            writer.push(sound[:, start : start + self.source_hz].T)
        return writer.close()


def chosen(
    output: Output, source_hz: int, seconds: float, songs: int, leniency: Leniency
) -> Encoding:
    """Return the encoding of songs: the best that an answer holds.

    Args:
        output: the format, and the limits of an answer.
        source_hz: rate of the model's samples.
        seconds: of each song.
        songs: their number.
        leniency: collects a warning if the bit rate is lowered.

    Raises:
        InvalidValue: an answer does not hold them in any quality.
    """
    rate_hz = FORMATS[output.format].rate_for(source_hz)
    rates = _ladder(output.format, rate_hz)
    share = _BASE64 if output.as_base64 else 1.0
    total_s = seconds * songs

    def size_bytes(bits: int) -> float:
        return total_s * bits / 8 * share * _MARGIN

    hard = _room(output.limit_bytes)
    fitting = [bits for bits in rates if hard is None or size_bytes(bits) <= hard]
    if not fitting:
        raise _too_large(output, total_s, size_bytes(rates[-1]))
    bits = fitting[0]
    soft = _room(output.inline_limit_bytes)
    if soft is not None and not output.is_chosen and size_bytes(bits) > soft:
        good = [rate for rate in fitting if rate >= _GOOD] or fitting
        bits = next((rate for rate in good if size_bytes(rate) <= soft), good[-1])
    if bits < rates[0]:
        leniency.note(
            "format",
            f"The {output.format} has {bits // 1000} kbit/s in place of {rates[0] // 1000}, for an "
            f"answer without a bucket; {_BUCKET}",
        )
    lossless = output.format not in LADDERS
    return Encoding(output.format, source_hz, rate_hz, None if lossless else bits)


def _ladder(format_: str, rate_hz: int) -> list[int]:
    """Return the bit rates of a format, from the best; of a lossless one its upper limit."""
    if format_ not in LADDERS:
        return [16 * CHANNELS * rate_hz]
    most = _MOST_BITS_PER_HZ * rate_hz * CHANNELS
    return list(dict.fromkeys(min(bits, most) for bits in LADDERS[format_]))


def _room(limit_bytes: int | None) -> float | None:
    return None if limit_bytes is None else limit_bytes - _ENVELOPE_BYTES


def _too_large(output: Output, total_s: float, size_bytes: float) -> InvalidValue:
    limit_bytes = output.limit_bytes or 0
    smaller = "opus" if output.format in LADDERS else "mp3"
    return InvalidValue(
        f"{total_s:g} s of {output.format} would have some {size_bytes / 1e6:.1f} MB, and an "
        f"answer holds {limit_bytes / 1e6:.1f}; ask for {smaller}, less time or fewer songs; "
        f"{_BUCKET}.",
        param="format" if output.is_chosen else "duration",
        code="output_too_large",
    )

"""The formats of sound files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

RATES_HZ = (8000, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_OPUS_RATES_HZ = (8000, 12_000, 16_000, 24_000, 48_000)
_MPEG_RATES_HZ = tuple(rate for rate in RATES_HZ if rate != 12_000)  # libmp3lame's and ffmpeg's aac
_MOST_BITS = 96_000  # a second, of mp3 and aac
_OPUS_BITS = 48_000


@dataclass(frozen=True)
class Format:
    """A format of sound.

    Attributes:
        media_type: as HTTP has it.
        suffix: of a file's name.
        rates_hz: the sample rates that it can have.
        bits: of a second, where the rate does not decide.
        share: of the bytes of 16-bit samples that it takes at most, where it does.
    """

    media_type: str
    suffix: str
    rates_hz: Sequence[int] = RATES_HZ
    bits: int | None = None
    share: float = 1.0

    def rate_for(self, source_hz: int) -> int:
        """Return the rate of a file whose client names none: the source's, or the next it has."""
        return min(
            (rate for rate in self.rates_hz if rate >= source_hz), default=max(self.rates_hz)
        )

    def bits_at(self, rate_hz: int) -> int:
        """Bits a second; a low rate has no use for many."""
        return int(16 * rate_hz * self.share) if self.bits is None else min(self.bits, 4 * rate_hz)


FORMATS: Mapping[str, Format] = {
    "mp3": Format("audio/mpeg", "mp3", _MPEG_RATES_HZ, _MOST_BITS),
    "opus": Format("audio/ogg", "opus", _OPUS_RATES_HZ, _OPUS_BITS),
    "aac": Format("audio/aac", "aac", _MPEG_RATES_HZ, _MOST_BITS),
    "flac": Format("audio/flac", "flac", share=0.75),
    "wav": Format("audio/wav", "wav"),
    "pcm": Format("audio/pcm", "pcm"),
}

"""Requests to engines of speech, their events and their answers; voices, languages and formats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models.leniency import LeftOut
from models.row import Row

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


@dataclass(frozen=True)
class Voice:
    """A voice of a model.

    Attributes:
        slug: its name in requests.
        name: for people.
        gender: ``female`` or ``male``.
        names: further names that mean it.
    """

    slug: str
    name: str
    gender: str
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Language:
    """A language that a model speaks.

    Attributes:
        slug: its tag, ``en-us``.
        name: in English.
        voices: those that speak it; the first is its default.
        names: further names that mean it.
    """

    slug: str
    name: str
    voices: tuple[Voice, ...]
    names: tuple[str, ...] = ()


def languages_of(row: Row) -> tuple[Language, ...]:
    """The languages of a model, with their voices.

    The row's option ``languages`` has them: a list of objects with the fields of ``Language``,
    whose ``voices`` have those of ``Voice``.
    """
    return tuple(_language(given) for given in row.options.get("languages", ()))


def _language(given: Mapping[str, Any]) -> Language:
    voices = tuple(_voice(voice) for voice in given["voices"])
    return Language(given["slug"], given["name"], voices, tuple(given.get("names", ())))


def _voice(given: Mapping[str, Any]) -> Voice:
    return Voice(given["slug"], given["name"], given["gender"], tuple(given.get("names", ())))


@dataclass(frozen=True)
class Output:
    """How the sound leaves.

    Attributes:
        format: of ``FORMATS``.
        rate_hz: of its samples; None = the model's own.
        streamed: whether it leaves as it is made.
        limit_bytes: the largest answer; None = however large.
        as_base64: whether it is counted as base64.
    """

    format: str = "mp3"
    rate_hz: int | None = None
    streamed: bool = False
    limit_bytes: int | None = None
    as_base64: bool = False


@dataclass(frozen=True)
class SpeakRequest:
    """A text to speak.

    Attributes:
        text: as the client wrote it.
        voice: a name of one; None = the model's default.
        language: its tag or name; None = the voice's own.
        instructions: how it is to be spoken.
        speed: 1 = the voice's own.
        seed: of what is random; None = any.
        max_tokens: of a sentence, of a model that makes sound by tokens.
        output: the sound's form.
        strict: whether a field that the model has no use for fails the request.
    """

    text: str
    voice: str | None = None
    language: str | None = None
    instructions: str | None = None
    speed: float = 1.0
    seed: int | None = None
    max_tokens: int | None = None
    output: Output = Output()
    strict: bool = False


@dataclass(frozen=True)
class Begun:
    """The first event of a streamed request.

    Attributes:
        rate_hz: of the samples.
        left_out: what the client is to know of its request.
    """

    rate_hz: int
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, repr=False)
class Sound:
    """An event: the next bytes of the encoded sound."""

    content: bytes


@dataclass(frozen=True, repr=False)
class Speech:
    """The whole sound.

    Attributes:
        content: encoded.
        format: of ``FORMATS``.
        rate_hz: of the samples.
        duration_s: how long it is.
        voice: who speaks.
        text_tokens, sound_tokens: read and made, as the model counts them.
        left_out: what the client is to know of its request.
    """

    content: bytes
    format: str
    rate_hz: int
    duration_s: float
    voice: str
    text_tokens: int
    sound_tokens: int
    left_out: tuple[LeftOut, ...] = ()


def told_languages(row: Row) -> list[dict[str, Any]]:
    """The languages of a model as clients read them."""
    return [
        {
            "name": language.name,
            "slug": language.slug,
            "voices": [
                {"name": voice.name, "slug": voice.slug, "gender": voice.gender}
                for voice in language.voices
            ],
        }
        for language in languages_of(row)
    ]

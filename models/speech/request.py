"""Requests to engines of speech, their events and their answers; voices and languages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models.leniency import LeftOut
from models.row import Row


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
        format: of ``models.sound.formats.FORMATS``.
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
        format: of ``models.sound.formats.FORMATS``.
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

"""The body of a request for music."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from handler.contract.music import foreign
from handler.contract.request import Integer, NonEmpty, Request, Text
from handler.contract.translation import translate
from models.errors import InvalidValue

LEAST_S, MOST_S = 10, 600  # of a song
_RANDOM = -1
_SEEDS = 2**63
_MOST_CHARACTERS = 20_000  # of a text; the model counts tokens
_KEY = re.compile(
    r"(?P<note>[A-G])\s*-?\s*(?P<sign>#|♯|sharp|b|♭|flat)?\s*-?\s*"
    r"(?P<mode>major|minor|maj|min|m)?",
    re.IGNORECASE,
)
_SIGNS = {"#": "#", "♯": "#", "sharp": "#", "b": "b", "♭": "b", "flat": "b"}
_TAG = re.compile(r"[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,3}")


def _beats(value: Any) -> Any:
    """Return a time signature as the model reads it: 4, "4" and "4/4" are "4"."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return re.sub(r"\s*/\s*[248]$", "", value.strip())
    return value


Format = Literal["mp3", "opus", "aac", "flac", "wav"]
Beats = Annotated[Literal["2", "3", "4", "6"], BeforeValidator(_beats)]


class MusicRequest(Request):
    """The body of a request for music; ``prompt`` and ``audio_duration`` mean ours."""

    aliases: ClassVar = foreign.ALIASES
    unsupported: ClassVar = foreign.UNSUPPORTED
    translates: ClassVar = frozenset(foreign.TABLE)

    caption: Annotated[NonEmpty, Field(max_length=_MOST_CHARACTERS)]
    lyrics: Annotated[Text, Field(max_length=_MOST_CHARACTERS)] | None = None
    duration: Annotated[float, Field(ge=LEAST_S, le=MOST_S)] | None = None
    bpm: Annotated[Integer, Field(ge=30, le=300)] | None = None
    keyscale: Annotated[NonEmpty, Field(max_length=40)] | None = None
    timesignature: Beats | None = None
    vocal_language: Annotated[NonEmpty, Field(max_length=35)] | None = None
    inference_steps: Annotated[Integer, Field(ge=1, le=100)] | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=20)] | None = None
    shift: Annotated[float, Field(ge=1, le=5)] | None = None
    seed: Annotated[Integer, Field(ge=_RANDOM, lt=_SEEDS)] | None = None
    n: Annotated[Integer, Field(ge=1, le=4)] = 1
    format: Format | None = None
    task_type: Literal["text2music", "cover"] | None = None
    reference_audio: NonEmpty | None = None
    src_audio: NonEmpty | None = None
    audio_cover_strength: Annotated[float, Field(ge=0, le=1)] | None = None

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other APIs' fields into our words; see ``foreign``."""
        return translate(given, foreign.TABLE)

    @property
    def parts(self) -> int:
        """The number of songs."""
        return self.n

    @field_validator("caption")
    @classmethod
    def _caption_says_something(cls, caption: str) -> str:
        if not caption.strip():
            raise ValueError("must describe the song")
        return caption

    @field_validator("keyscale")
    @classmethod
    def _key_as_the_model_reads_it(cls, key: str) -> str:
        """Return a key as ``F# minor``; "Am" and "B-flat Major" are keys, too."""
        match = _KEY.fullmatch(key.strip())
        if match is None:
            raise ValueError('must be a note from A to G, # or b, and major or minor: "F# minor"')
        mode = match["mode"] or "major"
        minor = mode == "m" or mode.lower() in ("min", "minor")
        sign = _SIGNS[match["sign"].lower()] if match["sign"] else ""
        return f"{match['note'].upper()}{sign} {'minor' if minor else 'major'}"

    @field_validator("vocal_language")
    @classmethod
    def _language_is_a_tag(cls, language: str) -> str:
        """Return the language alone: the model knows no regions."""
        if not _TAG.fullmatch(language):
            raise ValueError('must be the tag of a language, as "en", or "unknown"')
        return re.split("[-_]", language)[0].lower()

    @model_validator(mode="after")
    def _a_cover_has_a_source(self) -> Self:
        recordings = (self.src_audio, self.reference_audio)
        if self.task_type == "cover" and recordings == (None, None):
            raise InvalidValue(
                "task_type cover needs src_audio, the recording that it covers.",
                param="src_audio",
                code="missing_required_parameter",
            )
        if self.task_type == "text2music" and self.src_audio is not None:
            raise InvalidValue(
                "src_audio is the source of a cover, and task_type is text2music; leave one of "
                "them out, or send it as reference_audio for its timbre.",
                param="src_audio",
            )
        return self

    @property
    def source(self) -> tuple[str, str] | None:
        """The recording that is covered, and the field that has it; None = nothing is covered."""
        if self.src_audio is not None:
            return self.src_audio, "src_audio"
        if self.task_type == "cover" and self.reference_audio is not None:
            return self.reference_audio, "reference_audio"
        return None

    def seeds(self, otherwise: int) -> tuple[int, ...]:
        """The seed of each song; after the first those that follow it."""
        first = otherwise if self.seed in (None, _RANDOM) else self.seed
        return tuple(((first or 0) + index) % _SEEDS for index in range(self.n))

"""The body of a request for speech."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from handler.contract.request import Integer, NonEmpty, Part, Request, Text, whole
from handler.contract.speech import foreign
from handler.contract.translation import translate
from models.errors import InvalidValue
from models.sound.formats import FORMATS

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
Rate = Annotated[
    Literal[8000, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000], BeforeValidator(whole)
]
_RANDOM = -1  # the sister API's seed for none


class VoiceId(Part):
    """A voice by its id."""

    id: NonEmpty


class SpeechRequest(Request):
    """The body of a request for speech; ``text``, ``lang``, ``format``, ``instruct`` mean ours."""

    aliases: ClassVar = foreign.ALIASES
    unsupported: ClassVar = foreign.UNSUPPORTED
    translates: ClassVar = frozenset(foreign.TABLE)

    input: NonEmpty
    voice: NonEmpty | VoiceId | None = None
    instructions: Text | None = None
    response_format: Format = "mp3"
    speed: Annotated[float, Field(ge=0.25, le=4)] = 1.0
    stream_format: Literal["sse", "audio"] | None = None
    stream: bool = False
    language: Annotated[NonEmpty, Field(max_length=35)] | None = None
    sample_rate: Rate | None = None
    seed: Annotated[Integer, Field(ge=_RANDOM, lt=2**63)] | None = None
    max_new_tokens: Annotated[Integer, Field(ge=1, le=100_000)] | None = None

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other APIs' fields into our words; see ``foreign``."""
        return translate(given, foreign.TABLE)

    @model_validator(mode="after")
    def _the_format_has_the_rate(self) -> Self:
        rates = FORMATS[self.response_format].rates_hz
        if self.sample_rate is not None and self.sample_rate not in rates:
            raise InvalidValue(
                f"sample_rate is {self.sample_rate}, and {self.response_format} has "
                f"{', '.join(map(str, rates))}; send one of them, or another response_format.",
                param="sample_rate",
            )
        return self

    @model_validator(mode="after")
    def _events_are_a_stream(self) -> Self:
        if self.stream_format == "sse" and "stream" in self.model_fields_set and not self.stream:
            raise InvalidValue(
                "stream_format sse asks for events, and stream is false; leave one of them out.",
                param="stream",
            )
        return self

    @property
    def asks_for_stream(self) -> bool:
        """Events are a stream."""
        return self.stream_format == "sse"

    @property
    def voice_name(self) -> str | None:
        """The voice by its name or id."""
        return self.voice.id if isinstance(self.voice, VoiceId) else self.voice

    @property
    def fixed_seed(self) -> int | None:
        """The seed; None = any."""
        return None if self.seed == _RANDOM else self.seed

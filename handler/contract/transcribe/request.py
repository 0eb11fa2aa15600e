"""The body of a transcription request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from handler.contract.request import Integer, NonEmpty, Request, Text, Unsupported
from handler.contract.transcribe.languages import CODES
from models.errors import InvalidValue
from models.transcribe.request import FALLBACK

Granularity = Literal["word", "segment"]
Format = Literal["json", "text", "srt", "verbose_json", "vtt"]

URL_NAMES = ("audio_url", "video_url")
_LEAST_INCREMENT = 0.05  # each temperature is a try of its own


class TranscriptionRequest(Request):
    """The body of a transcription request.

    Several APIs' words for one thing are understood: ``translate`` for the task, and ``include_ts``
    and ``word_timestamps`` for times, which ask for ``verbose_json`` unless a format is named.
    """

    unsupported: ClassVar = {
        "chunking_strategy": Unsupported(),
        "diarize": Unsupported(False, instead="speakers are not told apart here; leave it out"),
        "include": Unsupported([]),
        "keywords": Unsupported([], instead="send them as one text in hotwords"),
        "known_speaker_names": Unsupported([]),
        "known_speaker_references": Unsupported([]),
        "languages": Unsupported([], instead="send one of them as language, or none"),
        "stream": Unsupported(False),
    }
    aliases: ClassVar = dict.fromkeys((*URL_NAMES, "file", "audio", "audio_base64"), "audioUrl")
    files: ClassVar = {"file": "audioUrl"}

    audioUrl: NonEmpty
    language: Annotated[str, Field(min_length=2, max_length=35)] | None = None
    prompt: Text | None = None
    response_format: Format | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    temperature_increment_on_fallback: Annotated[float, Field(ge=0, le=1)] | None = None
    beam_size: Annotated[Integer, Field(ge=1, le=10)] | None = None
    timestamp_granularities: list[Granularity] = Field(default=["segment"])
    include_ts: bool = False
    word_timestamps: bool = False
    task: Literal["transcribe", "translate"] | None = None
    translate: bool = False
    vad_filter: bool = False
    hotwords: Text | None = None

    @model_validator(mode="after")
    def _times_need_a_place(self) -> Self:
        if self.include_ts and self.format in {"json", "text"}:
            raise InvalidValue(
                "include_ts asks for times, and json and text have none; leave response_format "
                "out, or send verbose_json, srt or vtt.",
                param="include_ts",
            )
        if self.words and self.format != "verbose_json":
            raise InvalidValue(
                "Timestamps of words are in verbose_json answers only.",
                param="word_timestamps" if self.word_timestamps else "timestamp_granularities",
            )
        return self

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if self.translate and self.task == "transcribe":
            raise InvalidValue(
                "translate and task 'transcribe' contradict each other; send one of them.",
                param="translate",
            )
        return self

    @field_validator("temperature_increment_on_fallback")
    @classmethod
    def _few_tries(cls, increment: float | None) -> float | None:
        if increment is not None and 0 < increment < _LEAST_INCREMENT:
            raise ValueError(f"must be 0, for no fallback, or at least {_LEAST_INCREMENT}")
        return increment

    @field_validator("language")
    @classmethod
    def _language_tag(cls, language: str) -> str:
        """BCP 47: Whisper knows the primary subtag, ``en`` of ``en-US``; or an English name."""
        if language.lower() in CODES:
            return CODES[language.lower()]
        primary = language.replace("_", "-").split("-")[0]
        if not (primary.isascii() and primary.isalpha()):
            raise ValueError("must be a language tag such as en or pt-BR")
        return primary.lower()

    @property
    def format(self) -> Format:
        """The answer's format."""
        if self.response_format is not None:
            return self.response_format
        return "verbose_json" if self.include_ts or self.word_timestamps else "json"

    @property
    def words(self) -> bool:
        """Whether words are timed."""
        return self.word_timestamps or "word" in self.timestamp_granularities

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try one after another, each where the one before went wrong.

        Whisper's own rule: from the first up to 1 by the increment. Without one, a temperature
        above 0 is the only one.
        """
        first, increment = self.temperature, self.temperature_increment_on_fallback
        if increment is None:
            return (first,) if first > 0 else FALLBACK
        if increment == 0:
            return (first,)
        tries = int((1 - first) / increment + 1e-6) + 1
        return tuple(round(first + index * increment, 6) for index in range(tries))

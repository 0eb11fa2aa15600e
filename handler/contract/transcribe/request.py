"""The body of a transcription request."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, field_validator, model_validator

from handler.contract.base import NonEmpty, Request, Text
from handler.contract.transcribe.languages import CODES
from models.errors import InvalidValue

Granularity = Literal["word", "segment"]


class TranscriptionRequest(Request):
    """The body of a transcription request."""

    unsupported: ClassVar = {
        "chunking_strategy": (),
        "file": (),
        "include": ([],),
        "keywords": ([],),
        "known_speaker_names": ([],),
        "known_speaker_references": ([],),
        "languages": ([],),
        "stream": (False,),
    }
    aliases: ClassVar = {"audio_url": "audioUrl"}
    files: ClassVar = {"file": "audioUrl"}

    audioUrl: NonEmpty
    language: Annotated[str, Field(min_length=2, max_length=35)] | None = None
    prompt: Text | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    timestamp_granularities: list[Granularity] = Field(default=["segment"])
    task: Literal["transcribe", "translate"] = "transcribe"
    vad_filter: bool = False
    hotwords: Text | None = None
    webhook_url: str | None = None

    @model_validator(mode="after")
    def _words_need_a_place(self) -> Self:
        if "word" in self.timestamp_granularities and self.response_format != "verbose_json":
            raise InvalidValue(
                "Timestamps of words are in verbose_json answers only.",
                param="timestamp_granularities",
            )
        return self

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

"""The body of a transcription request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
    model_validator,
)

from handler.contract.request import Integer, Items, NonEmpty, Request, Text
from handler.contract.transcribe import foreign
from handler.contract.transcribe.languages import ANY, CODES
from handler.contract.transcribe.vad import ServerVad, Vad
from handler.contract.translation import translate
from models.errors import InvalidValue
from models.transcribe.request import FALLBACK

Granularity = Literal["word", "segment"]
Format = Literal["json", "text", "srt", "verbose_json", "vtt", "diarized_json"]

URL_NAMES = ("audio_url", "video_url")
_LEAST_LETTERS = 2  # of a language's code
_LEAST_INCREMENT = 0.05  # each temperature is a try of its own


def _code(language: str) -> str | None:
    """BCP 47: Whisper knows the primary subtag, ``en`` of ``en-US``; or an English name.

    None = any, as where none is given.
    """
    name = language.strip().lower()
    if name in ANY:
        return None
    if name in CODES:
        return CODES[name]
    primary = name.replace("_", "-").split("-")[0]
    if len(name) < _LEAST_LETTERS or not (primary.isascii() and primary.isalpha()):
        raise ValueError("must be a language tag such as en or pt-BR")
    return CODES.get(primary, primary)


Language = Annotated[str, Field(max_length=35), AfterValidator(_code)]
Temperature = Annotated[float, Field(ge=0, le=1)]


class TranscriptionRequest(Request):
    """The body of a transcription request.

    Several APIs' words for one thing are understood: ``translate`` for the task, ``include_ts`` and
    ``word_timestamps`` for times, which ask for ``verbose_json`` unless a format is named, and
    ``diarize`` for ``diarized_json``.
    """

    aliases: ClassVar = {
        **foreign.ALIASES,
        **dict.fromkeys((*URL_NAMES, "file", "audio", "audio_base64"), "audioUrl"),
    }
    unsupported: ClassVar = foreign.UNSUPPORTED
    translates: ClassVar = frozenset(foreign.TABLE)
    files: ClassVar = {"file": "audioUrl"}

    audioUrl: NonEmpty
    language: Language | None = None
    prompt: Text | None = None
    response_format: Format | None = None
    temperature: Temperature | Annotated[list[Temperature], Items(10, least=1)] = 0.0
    temperature_increment_on_fallback: Annotated[float, Field(ge=0, le=1)] | None = None
    beam_size: Annotated[Integer, Field(ge=1, le=10)] | None = None
    timestamp_granularities: Annotated[list[Granularity], Items(10)] = Field(default=["segment"])
    include_ts: bool = False
    word_timestamps: bool = False
    task: Literal["transcribe", "translate"] | None = None
    translate: bool = False
    vad_filter: bool | None = None
    vad_parameters: Vad | None = None
    chunking_strategy: Literal["auto"] | ServerVad | None = None
    hotwords: Text | None = None
    keywords: Annotated[list[NonEmpty], Items(100)] | None = None
    languages: Annotated[list[Language], Items(20)] | None = None
    condition_on_previous_text: bool = True
    hallucination_silence_threshold: Annotated[float, Field(gt=0, le=60)] | None = None
    mode: Literal["batched", "sequential"] | None = None
    include: Annotated[list[Literal["logprobs"]], Items(1)] = Field(default=[])
    diarize: bool = False
    num_speakers: Annotated[Integer, Field(ge=1, le=20)] | None = None
    known_speaker_names: Annotated[list[NonEmpty], Items(4)] = Field(default=[])
    known_speaker_references: Annotated[list[NonEmpty], Items(4)] = Field(default=[])
    stream: bool = False
    max_line_width: Annotated[Integer, Field(ge=10, le=200)] | None = None
    max_line_count: Annotated[Integer, Field(ge=1, le=10)] | None = None

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other APIs' fields into our words; see ``foreign``."""
        return translate(given, foreign.TABLE)

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
    def _lines_are_of_subtitles(self) -> Self:
        for name in ("max_line_width", "max_line_count"):
            if getattr(self, name) is not None and self.format not in {"srt", "vtt"}:
                raise InvalidValue(f"{name} is of subtitles: send srt or vtt.", param=name)
        if self.stream and self.format in {"srt", "vtt"}:
            raise InvalidValue(
                f"A stream is of text; {self.format} comes whole. Leave one of them out.",
                param="response_format",
            )
        if self.language is not None and self.languages:
            raise InvalidValue(
                "language and languages contradict each other; send one of them.",
                param="languages",
            )
        return self

    @model_validator(mode="after")
    def _speakers_have_a_place(self) -> Self:
        of_speakers = {
            "diarize": self.diarize,
            "num_speakers": self.num_speakers is not None,
            "known_speaker_names": self.known_speaker_names,
            "known_speaker_references": self.known_speaker_references,
        }
        asked = [name for name, value in of_speakers.items() if value]
        if asked and self.format != "diarized_json":
            raise InvalidValue(
                f"{asked[0]} asks who speaks, which diarized_json answers alone; send that "
                "response_format.",
                param=asked[0],
            )
        names, voices = self.known_speaker_names, self.known_speaker_references
        if len(names) != len(voices) or len(set(names)) != len(names):
            raise InvalidValue(
                f"known_speaker_names are different, and as many as known_speaker_references; got "
                f"{len(names)} names and {len(voices)} references.",
                param="known_speaker_names",
            )
        return self

    @model_validator(mode="after")
    def _log_probabilities_have_a_place(self) -> Self:
        if self.include and self.format != "json":
            raise InvalidValue("logprobs are in json answers only.", param="include")
        return self

    @model_validator(mode="after")
    def _one_task(self) -> Self:
        if self.translate and self.task == "transcribe":
            raise InvalidValue(
                "translate and task 'transcribe' contradict each other; send one of them.",
                param="translate",
            )
        return self

    @field_validator("languages")
    @classmethod
    def _any_language_is_no_choice(cls, codes: list[str] | None) -> list[str] | None:
        return None if codes is None or None in codes else codes

    @field_validator("temperature_increment_on_fallback")
    @classmethod
    def _few_tries(cls, increment: float | None) -> float | None:
        if increment is not None and 0 < increment < _LEAST_INCREMENT:
            raise ValueError(f"must be 0, for no fallback, or at least {_LEAST_INCREMENT}")
        return increment

    @property
    def format(self) -> Format:
        """The answer's format."""
        if self.response_format is not None:
            return self.response_format
        if self.diarize:
            return "diarized_json"
        return "verbose_json" if self.include_ts or self.word_timestamps else "json"

    @property
    def words(self) -> bool:
        """Whether words are timed."""
        return self.word_timestamps or "word" in self.timestamp_granularities

    @property
    def bounded(self) -> bool:
        """Whether lines of subtitles are bounded."""
        return self.max_line_width is not None or self.max_line_count is not None

    @property
    def temperatures(self) -> tuple[float, ...]:
        """The temperatures to try one after another, each where the one before went wrong.

        Whisper's own rule: from the first up to 1 by the increment. Without one, a temperature
        above 0 is the only one.
        """
        if isinstance(self.temperature, list):
            return tuple(self.temperature)
        first, increment = self.temperature, self.temperature_increment_on_fallback
        if increment is None:
            return (first,) if first > 0 else FALLBACK
        if increment == 0:
            return (first,)
        tries = int((1 - first) / increment + 1e-6) + 1
        return tuple(round(first + index * increment, 6) for index in range(tries))

    @property
    def vad(self) -> bool | None:
        """Whether what is no speech is skipped; None = as the engine likes."""
        asked = self.vad_parameters is not None or self.chunking_strategy is not None
        return True if self.vad_filter is None and asked else self.vad_filter

    @property
    def vad_options(self) -> dict[str, float]:
        """The options of voice activity detection, by faster-whisper's names."""
        told = {}
        if isinstance(self.chunking_strategy, ServerVad):
            server = self.chunking_strategy
            told = {
                "threshold": server.threshold,
                "speech_pad_ms": server.prefix_padding_ms,
                "min_silence_duration_ms": server.silence_duration_ms,
            }
        if self.vad_parameters is not None:
            told |= self.vad_parameters.model_dump(exclude_none=True)
        return {name: one for name, one in told.items() if one is not None}

    @property
    def expected(self) -> str | None:
        """The words to expect."""
        words = [self.hotwords, *(self.keywords or ())]
        return ", ".join(word for word in words if word) or None

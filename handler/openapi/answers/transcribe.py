"""Answers of transcription."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from handler.openapi.answers.shape import Absent, Notice, Shape, Warnings

Code = Field(description="ISO 639-1 of the language spoken.")


class DurationUsage(Shape):
    """What is counted of a recording: its seconds, rounded up."""

    type: Literal["duration"]
    seconds: int


class TranscriptLogprob(Shape):
    """One token and its log probability."""

    token: str
    logprob: float
    bytes: list[int]


class Spoken(Shape):
    """A language that is spoken."""

    code: str


class Transcription(Shape):
    """A transcript as `json`; those from `language_code` on are extensions."""

    text: str
    languages: list[Spoken]
    usage: DurationUsage
    duration: float = Field(description="Seconds.")
    logprobs: list[TranscriptLogprob] | Absent = None
    language_code: str = Code
    language_probability: float
    model: str
    notice: Notice = None
    warnings: Warnings = None


class TranscriptSegment(Shape):
    """OpenAI's TranscriptionSegment; times in seconds."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


class TranscriptWord(Shape):
    """OpenAI's TranscriptionWord; times in seconds."""

    word: str
    start: float
    end: float


class VerboseTranscription(Shape):
    """A transcript as `verbose_json`; those from `task` on are extensions."""

    text: str
    language: str
    duration: float = Field(description="Seconds.")
    segments: list[TranscriptSegment]
    words: list[TranscriptWord] | Absent = None
    usage: DurationUsage
    task: Literal["transcribe", "translate"]
    language_code: str = Code
    language_probability: float
    model: str
    notice: Notice = None
    warnings: Warnings = None


class SpeakerSegment(Shape):
    """OpenAI's TranscriptionDiarizedSegment; times in seconds."""

    id: str
    type: Literal["transcript.text.segment"]
    start: float
    end: float
    speaker: str
    text: str


class DiarizedTranscription(Shape):
    """A transcript as `diarized_json`: who says what."""

    task: Literal["transcribe"]
    duration: float = Field(description="Seconds.")
    text: str
    segments: list[SpeakerSegment]
    usage: DurationUsage
    language_code: str = Code
    language_probability: float
    model: str
    notice: Notice = None
    warnings: Warnings = None


class TranscriptEvent(Shape):
    """OpenAI's event of a transcript stream; the last one holds the whole transcript."""

    model_config = ConfigDict(extra="allow")

    type: Literal["transcript.text.delta", "transcript.text.segment", "transcript.text.done"]
    delta: str | Absent = None
    text: str | Absent = None

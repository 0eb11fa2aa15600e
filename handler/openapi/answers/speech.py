"""Answers of speech, where they are no sound."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from handler.openapi.answers.shape import Absent, Notice, Shape, Warnings


class SpeechUsage(Shape):
    """Tokens as the model has them: of the text that it reads, and of the sound that it makes."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SpeechEvent(Shape):
    """OpenAI's event of a stream of speech; those fields of the last from `format` on are ours."""

    type: Literal["speech.audio.delta", "speech.audio.done"]
    audio: str | Absent = Field(default=None, description="The file's next bytes, as base64.")
    usage: SpeechUsage | Absent = None
    format: str | Absent = None
    sample_rate: int | Absent = None
    duration: float | Absent = None
    voice: str | Absent = None
    model: str | Absent = None
    notice: Notice = None
    warnings: Warnings = None

"""The answer of several songs; a single one is a file."""

from __future__ import annotations

from pydantic import Field

from handler.openapi.answers.shape import Absent, Notice, Shape, Warnings


class MusicUsage(Shape):
    """Tokens that the text encoder reads, and latents that the songs have inside the model."""

    input_tokens: int
    output_tokens: int
    total_tokens: int


class SongObject(Shape):
    """A song."""

    url: str | Absent = Field(default=None, description="In the bucket, where there is one.")
    b64_json: str | Absent = Field(default=None, description="The file as base64.")
    seed: int


class MusicResponse(Shape):
    """Songs, where several are asked for."""

    created: int
    data: list[SongObject]
    format: str
    sample_rate: int
    duration: float
    task_type: str
    usage: MusicUsage
    model: str
    notice: Notice = None
    warnings: Warnings = None

"""Answers of images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from handler.openapi.answers.shape import Absent, Notice, Shape, Warnings

PictureFormat = Literal["png", "jpeg", "webp", "mp4"]


class InputTokens(Shape):
    """Tokens of words and of pictures."""

    text_tokens: int
    image_tokens: int


class ImagesUsage(Shape):
    """Tokens of the prompt, and of the pictures made."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    total_tokens: int


class Checked(Shape):
    """What the safety checker says of a picture; a flagged one does not leave."""

    checked_by: str
    flagged: bool


class ImageFacts(Shape):
    """A picture and what is known of it."""

    url: str | Absent = Field(default=None, description="Where a bucket is configured.")
    b64_json: str | Absent = Field(
        default=None,
        description="The encoded picture.",
        json_schema_extra={"contentEncoding": "base64"},
    )
    seed: int | Absent = None
    width: int | Absent = Field(default=None, description="Pixels, as made.")
    height: int | Absent = None
    frames: int | Absent = Field(default=None, description="Of a video.")
    fps: float | Absent = Field(default=None, description="Of a video: frames a second.")
    seconds: float | Absent = Field(default=None, description="Of a video: its length.")
    content_filter: Checked | Absent = None


class ImagesResponse(Shape):
    """OpenAI's ImagesResponse; `model`, `notice` and `warnings` are extensions."""

    created: int
    data: list[ImageFacts]
    output_format: PictureFormat
    usage: ImagesUsage
    model: str
    notice: Notice = None
    warnings: Warnings = None


class ImageEvent(ImageFacts):
    """OpenAI's event of an image stream: a preview, or a picture that is done."""

    type: Literal[
        "image_generation.partial_image",
        "image_generation.completed",
        "image_edit.partial_image",
        "image_edit.completed",
    ]
    index: int = Field(description="Of which picture.")
    partial_image_index: int | Absent = None
    created_at: int
    size: str
    quality: str
    background: str
    output_format: PictureFormat
    usage: ImagesUsage | Absent = None
    model: str | Absent = None
    notice: Notice = None
    warnings: Warnings = None

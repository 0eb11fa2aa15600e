"""The parts of a message's content, as OpenAI has them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from handler.contract.chat.pictures import Reference
from handler.contract.request import NonEmpty, Part, Text


class TextPart(BaseModel):
    """A part of a message's content that is text."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: Text


class RefusalPart(BaseModel):
    """A part of an earlier answer that refused; its text is read as content."""

    model_config = ConfigDict(strict=True)

    type: Literal["refusal"]
    refusal: Text

    @property
    def text(self) -> str:
        """The text of the refusal."""
        return self.refusal


class ImageUrl(Part):
    """A picture: a URL or a data URI, and how closely it is looked at."""

    url: NonEmpty
    detail: Literal["auto", "low", "high", "original"] | None = None


def _as_object(given: Any) -> Any:
    """A picture's address alone, as some clients send it, in OpenAI's form."""
    return {"url": given} if isinstance(given, str) else given


class ImagePart(BaseModel):
    """A part of a message's content that is a picture, for models that see."""

    model_config = ConfigDict(strict=True)

    type: Literal["image_url"]
    image_url: Annotated[ImageUrl, BeforeValidator(_as_object)]
    detail: Literal["auto", "low", "high", "original"] | None = None

    @property
    def text(self) -> str:
        """No text."""
        return ""

    def reference(self, path: str) -> Reference:
        """Where the picture is; ``path`` is the part's."""
        low = "low" in (self.detail, self.image_url.detail)
        return Reference(self.image_url.url, f"{path}.image_url", low)


class FileData(Part):
    """A file: a data URI, base64 or a URL; and how closely it is looked at."""

    file_data: NonEmpty
    filename: Text | None = None
    detail: Literal["auto", "low", "high"] | None = None


class FilePart(BaseModel):
    """A part of a message's content that is a PDF, or a picture, for models that see."""

    model_config = ConfigDict(strict=True)

    type: Literal["file"]
    file: FileData

    @property
    def text(self) -> str:
        """No text."""
        return ""

    def reference(self, path: str) -> Reference:
        """Where the file is; ``path`` is the part's."""
        return Reference(self.file.file_data, f"{path}.file", self.file.detail == "low")


ContentPart = Annotated[TextPart | RefusalPart | ImagePart | FilePart, Field(discriminator="type")]
IMAGE: dict[str, Any] = {"type": "image"}

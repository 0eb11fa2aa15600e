"""The parts of a message's content, as OpenAI has them and as chat templates know them."""

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

    def reference(self, param: str) -> Reference:
        """Where the picture is."""
        return Reference(self.image_url.url, param, "low" in (self.detail, self.image_url.detail))


ContentPart = Annotated[TextPart | RefusalPart | ImagePart, Field(discriminator="type")]


IMAGE: dict[str, Any] = {"type": "image"}


def plain(part: TextPart | RefusalPart | ImagePart) -> dict[str, Any]:
    """A part as chat templates know it."""
    return IMAGE if isinstance(part, ImagePart) else {"type": "text", "text": part.text}

"""Pictures that a client sends, and what an engine for printed text reads in them."""

from __future__ import annotations

from dataclasses import dataclass

from models.operator import Operator


@dataclass(frozen=True)
class PictureLimits:
    """What the pictures of one request may have.

    Attributes:
        count: how many they may be.
        size_bytes: of all of them together, as they come.
        pixels: of all of them together, decoded.
        pages: of PDFs that are read page by page; elsewhere a page is a picture.
        page_pixels: of a page of a PDF, which is drawn smaller where it would have more.
    """

    count: int = 16
    size_bytes: int = 32 * 1024 * 1024
    pixels: int = 64_000_000
    pages: int = 100
    page_pixels: int = 4_000_000

    @classmethod
    def configured(cls, operator: Operator) -> PictureLimits:
        """Return the operator's limits."""
        return cls(
            operator.chat_images,
            operator.chat_image_bytes,
            operator.chat_image_pixels,
            operator.chat_pdf_pages,
            operator.chat_pdf_page_pixels,
        )


@dataclass(frozen=True)
class InputPicture:
    """A picture that a client sends.

    Attributes:
        content: a PNG, JPEG, WebP or GIF.
        param: the field that it came in, for errors.
        low: whether a small copy of it does.
    """

    content: bytes
    param: str
    low: bool = False


@dataclass(frozen=True)
class ReadRequest:
    """Pages whose text is wanted, of an engine for printed text."""

    pictures: tuple[InputPicture, ...]


@dataclass(frozen=True)
class Line:
    """A line of a page.

    Attributes:
        corners: top left, top right, bottom right, bottom left, in pixels of the upright page.
        confidence: how likely its letters are on average, 0 to 1.
    """

    text: str
    corners: tuple[tuple[int, int], ...]
    confidence: float


@dataclass(frozen=True)
class Page:
    """What a page says.

    Attributes:
        width, height: of the upright page, in pixels.
        turned: by how many degrees the picture was turned to be upright, counterclockwise.
    """

    width: int
    height: int
    lines: tuple[Line, ...]
    turned: int = 0

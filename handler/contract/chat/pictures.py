"""What a request shows: references to pictures and PDFs, and the files behind them.

A PDF is as many pictures as it has pages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handler.contract.base import Call
from models.errors import InvalidValue, UnsupportedParameter
from models.pictures import pdf
from models.pictures.request import InputPicture, PictureLimits

# Of a page in a conversation: as sharp as fits a dozen of them into 32,768 tokens.
_SHOWN_DPI = 144.0


@dataclass(frozen=True)
class Reference:
    """One picture or PDF of a request.

    Attributes:
        address: a URL, a data URI or base64.
        param: the field that it stands in.
        low: whether a small copy of it does.
    """

    address: str
    param: str
    low: bool = False


@dataclass(frozen=True)
class File:
    """What is behind a reference.

    Attributes:
        path: where it is.
        is_pdf: whether it is a PDF, otherwise it is a picture.
    """

    path: Path
    reference: Reference
    is_pdf: bool

    def shown(self, content: bytes) -> InputPicture:
        """Return a picture of it."""
        return InputPicture(content, self.reference.param, self.reference.low)


@dataclass(frozen=True)
class Seen:
    """The pictures of a conversation.

    Attributes:
        pictures: in their order.
        counts: how many each reference comes to: one, or the pages of a PDF.
    """

    pictures: tuple[InputPicture, ...] = ()
    counts: tuple[int, ...] = ()


def references_of(image: str | Sequence[str]) -> list[Reference]:
    """Return what the field ``image`` refers to, one address or several."""
    if isinstance(image, str):
        return [Reference(image, "image")]
    return [Reference(address, f"image[{index}]") for index, address in enumerate(image)]


def limits_of(call: Call) -> PictureLimits:
    """Return the limits for the pictures of a request."""
    limits: PictureLimits = call.row.options.get("pictures", PictureLimits())
    return limits


async def files(call: Call, given: Sequence[Reference]) -> list[File]:
    """Fetch what a request refers to, each address once.

    Raises:
        UnsupportedParameter: the model cannot see.
        InvalidValue: there are too many.
        MediaError: one cannot be fetched, or all are too large together.
    """
    if not given:
        return []
    if "img2txt" not in call.row.tasks:
        raise UnsupportedParameter(
            f"{given[0].param}: {call.row.slug} reads text alone; send it to a model that sees "
            "pictures (GET /v1/models lists their tasks: img2txt).",
            param=given[0].param,
        )
    limits = limits_of(call)
    if len(given) > limits.count:
        param = given[limits.count].param
        raise InvalidValue(
            f"{param}: a request may have {limits.count} pictures; got {len(given)}.", param=param
        )
    paths: dict[str, Path] = {}
    left_bytes = limits.size_bytes
    for reference in given:
        if reference.address not in paths:
            path = await call.door.fetch(reference.address, reference.param, max(1, left_bytes))
            left_bytes -= path.stat().st_size
            paths[reference.address] = path
    return [
        File(paths[reference.address], reference, pdf.is_pdf(paths[reference.address]))
        for reference in given
    ]


async def fetched(call: Call, given: Sequence[Reference]) -> Seen:
    """Fetch the pictures of a conversation; the pages of its PDFs count among them.

    Raises:
        RequestError: as ``files`` says; there are too many pages, or a PDF cannot be read.
    """
    limits, pictures, counts = limits_of(call), list[InputPicture](), list[int]()
    for file in await files(call, given):
        before = len(pictures)
        if file.is_pdf:
            room = limits.count - (len(given) - len(counts) - 1) - before
            pictures += await _all_pages(file, limits, room)
        else:
            pictures.append(file.shown(await asyncio.to_thread(file.path.read_bytes)))
        counts.append(len(pictures) - before)
    return Seen(tuple(pictures), tuple(counts))


async def _all_pages(file: File, limits: PictureLimits, room: int) -> list[InputPicture]:
    param = file.reference.param
    async with pdf.opened(file.path, param) as document:
        if document.count > room:
            raise InvalidValue(
                f"{param}: the PDF has {document.count} pages; a conversation may have "
                f"{limits.count} pictures and pages together. POST /v1/ocr reads up to "
                f"{limits.pages} pages one by one.",
                param=param,
            )
        return [
            file.shown(await document.page(number, limits.page_pixels, _SHOWN_DPI))
            for number in range(1, document.count + 1)
        ]

"""Decoding the pictures of one request, within its limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from models.errors import InvalidValue
from models.pictures.decoding import decode
from models.pictures.request import InputPicture, PictureLimits


def decoded(given: Sequence[InputPicture], limits: PictureLimits) -> Iterator[tuple[str, Any]]:
    """Yield each picture's field and the picture: Pillow's, in RGB.

    Raises:
        MediaUndecodable: one cannot be read, or exceeds a limit of its own.
        InvalidValue: they have too many pixels together.
    """
    pixels = 0
    for sent in given:
        picture = decode(sent.content, sent.param)
        pixels += picture.width * picture.height
        if pixels > limits.pixels:
            raise InvalidValue(
                f"{sent.param}: the pictures of a request may have {limits.pixels} pixels "
                f"together; got {pixels} or more.",
                param=sent.param,
            )
        yield sent.param, picture

"""One picture in, one picture out: what the engines that restore pictures share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from models.errors import InvalidValue, UnsupportedParameter
from models.images.encoding import encoded
from models.images.request import ImageRequest, Images, Output
from models.leniency import LeftOut
from models.pictures.decoding import decode
from models.work import only


def read(request: ImageRequest, purpose: str, *, alpha: bool) -> Any:
    """Decode the request's one picture.

    Args:
        request: with one input picture.
        purpose: completes "the picture …" in the error.
        alpha: whether transparency is kept.

    Raises:
        InvalidValue: there is no picture.
        UnsupportedParameter: there are several.
        MediaUndecodable: it cannot be read.
    """
    if not request.images:
        raise InvalidValue(
            f"image is required: the picture {purpose}.",
            param="image",
            code="missing_required_parameter",
        )
    if len(request.images) > 1:
        raise UnsupportedParameter(
            f"image: one picture at a time; got {len(request.images)}.", param="image"
        )
    return decode(request.images[0], alpha=alpha)


def finish(output: Output, left_out: tuple[LeftOut, ...]) -> Callable[[Sequence[Any]], Images]:
    """Return what encodes the picture that an engine made, for ``Work.finish``."""
    return partial(_encoded, output, left_out)


def _encoded(output: Output, left_out: tuple[LeftOut, ...], outputs: Sequence[Any]) -> Images:
    made = encoded([only(outputs)], [None], output)
    return Images(made.pictures, (*left_out, *made.left_out))

"""What engines share that make one picture of another; and what the others refuse of it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from models.errors import InvalidValue, UnsupportedParameter
from models.images.encoding import encoded
from models.images.pictures import decode
from models.images.request import ImageRequest, Images, Output
from models.row import Row
from models.surface import LeftOut, Leniency, only

# Of requests for pictures, what nothing here depends on.
_VAIN = (
    "negative_prompt", "n", "size", "aspect_ratio", "steps", "guidance", "seed", "strength", "mask",
    "scheduler", "loras", "partial_images",
)  # fmt: skip


def check_task(request: ImageRequest, row: Row) -> None:
    """Refuse, for a model that makes pictures of words, what only models of edits do.

    Raises:
        UnsupportedParameter: it is to enlarge, or to leave out a background.
    """
    for name, wrong, task in (
        ("scale", request.scale not in (None, 1), "enlarge pictures"),
        ("background", request.background == "transparent", "make transparent backgrounds"),
    ):
        if wrong:
            raise UnsupportedParameter(
                f"{name} is not supported: {row.slug} does not {task}; leave it out, or ask a "
                "model that does.",
                param=name,
            )


def read(request: ImageRequest, what: str, *, alpha: bool) -> Any:
    """The picture that a request is about.

    Args:
        request: whose.
        what: is done with it, for the error.
        alpha: whether its transparency is kept.

    Raises:
        InvalidValue: it has none.
        MediaUndecodable: it cannot be read.
    """
    if not request.images:
        raise InvalidValue(
            f"image is required: the picture {what}.",
            param="image",
            code="missing_required_parameter",
        )
    if len(request.images) > 1:
        raise UnsupportedParameter(
            f"image: one picture at a time; got {len(request.images)}.", param="image"
        )
    return decode(request.images[0], alpha=alpha)


def left_out(request: ImageRequest, row: Row) -> tuple[LeftOut, ...]:
    """The fields that a model without prompt and chance has no use for.

    Raises:
        UnsupportedParameter: there is one, and the request is strict.
    """
    leniency = Leniency(request.strict)
    nothing = {"scale": request.scale in (None, 1), "background": request.background is None}
    for name in vain(row):
        if name in request.given and not nothing.get(name, False):
            leniency.leave_out(name, f"{row.slug} makes one picture of another, without {name}")
    return tuple(leniency.left_out)


def vain(row: Row) -> tuple[str, ...]:
    """The fields of a request for pictures that a model has no use for."""
    return (*_VAIN, "background" if "img-upscale" in row.tasks else "scale")


def finish(output: Output, vain: tuple[LeftOut, ...]) -> Any:
    """For ``Work``: encodes the one picture that an engine made."""
    return partial(_encoded, output, vain)


def _encoded(output: Output, vain: tuple[LeftOut, ...], outputs: Sequence[Any]) -> Images:
    made = encoded([only(outputs)], [None], output)
    return Images(made.pictures, (*vain, *made.left_out))

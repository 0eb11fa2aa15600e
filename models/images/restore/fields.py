"""The request fields that models ignore which make one picture out of another."""

from __future__ import annotations

from typing import Any

from models.engine import Differences
from models.images.fields import SINGLE_IMAGE, STILL_FORMATS, VIDEO_FIELDS, ignore, without
from models.images.request import ImageRequest
from models.leniency import LeftOut, Leniency
from models.row import Row

_IGNORED = (
    "negative_prompt", "n", "size", "aspect_ratio", "steps", "guidance", "seed", "strength", "mask",
    "scheduler", "loras", "partial_images",
)  # fmt: skip
_NEUTRAL: dict[str, tuple[Any, ...]] = {"scale": (None, 1), "background": (None,)}
# The surface requires a prompt for other models and derives the size from these two.
_NEVER_READ = ("prompt", "width", "height")


def left_out(request: ImageRequest, row: Row) -> tuple[LeftOut, ...]:
    """Return a warning for each field that was sent and that the model ignores.

    Raises:
        UnsupportedParameter: there is such a field, and the request is strict.
    """
    leniency = Leniency(request.strict)
    reason = f"{row.slug} makes one picture of another, without"
    ignore(request, _ignored(row), _NEUTRAL, reason, leniency)
    return tuple(leniency.left_out)


def differences(row: Row) -> Differences:
    """Return where a model that restores pictures differs from the surface's fields."""
    return {**without(_ignored(row), VIDEO_FIELDS, _NEVER_READ), **SINGLE_IMAGE, **STILL_FORMATS}


def _ignored(row: Row) -> tuple[str, ...]:
    return (*_IGNORED, "background" if "img-upscale" in row.tasks else "scale")

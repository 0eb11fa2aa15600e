"""The request fields that LTX-2.3 refuses, and those that it limits."""

from __future__ import annotations

from models.engine import Differences
from models.images.fields import SINGLE_IMAGE, Refusal, refuse, without
from models.images.request import ImageRequest
from models.row import Row

STEPS = 8  # the distilled model is made for these
_REASON = f"is distilled, and makes videos in {STEPS} steps without guidance; leave it out"
_REFUSALS = {
    "negative_prompt": Refusal(_REASON, neutral=(None, "")),
    "guidance": Refusal(_REASON, neutral=(None, 1)),
    "steps": Refusal(_REASON, neutral=(None, STEPS)),
    "strength": Refusal(_REASON, neutral=(None, 1)),
    "scheduler": Refusal(_REASON),
    "mask": Refusal(_REASON),
    "loras": Refusal(_REASON, neutral=((),)),
    "scale": Refusal(_REASON, neutral=(None, 1)),
    "background": Refusal(_REASON, neutral=(None, "opaque")),
}
# Refused elsewhere: several videos by the engine with a message of its own, the rest by the
# contract, which knows that a video has neither.
_REFUSED_ELSEWHERE = ("n", "partial_images", "output_compression")


def check_fields(request: ImageRequest, row: Row) -> None:
    """Refuse the fields that the model cannot honour.

    Raises:
        UnsupportedParameter: the request has such a field.
    """
    refuse(request, row, _REFUSALS)


def differences(row: Row) -> Differences:
    """Return where a model of videos differs from the surface's fields."""
    return {
        **without(_REFUSALS, _REFUSED_ELSEWHERE),
        **SINGLE_IMAGE,
        "output_format": {"enum": ["mp4"]},
    }

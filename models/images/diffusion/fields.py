"""The request fields that models of text-to-image pipelines refuse, and those that they limit."""

from __future__ import annotations

from models.engine import Differences
from models.images.diffusion.families import FAMILIES
from models.images.fields import SINGLE_IMAGE, STILL_FORMATS, VIDEO_FIELDS, Refusal, refuse, without
from models.images.request import ImageRequest
from models.row import Row

_INSTEAD = "leave it out, or ask a model that does"
_REFUSALS = {
    "scale": Refusal(f"does not enlarge pictures; {_INSTEAD}", neutral=(None, 1)),
    "background": Refusal(
        f"does not make transparent backgrounds; {_INSTEAD}", neutral=(None, "opaque")
    ),
}


def check_task(request: ImageRequest, row: Row) -> None:
    """Refuse what only models that restore pictures do.

    Raises:
        UnsupportedParameter: the request asks to enlarge, or for a transparent background.
    """
    refuse(request, row, _REFUSALS)


def differences(row: Row) -> Differences:
    """Return where a model of text-to-image pipelines differs from the surface's fields."""
    family = FAMILIES[row.options["family"]]
    guided = family.guided or family.negative is not None
    return {
        **without(_REFUSALS, VIDEO_FIELDS),
        **({} if family.negative else without(["negative_prompt"])),
        **({} if guided else without(["guidance"])),
        **({} if family.whole else SINGLE_IMAGE),
        "scheduler": {"enum": sorted(family.schedulers)} if family.schedulers else None,
        **STILL_FORMATS,
    }

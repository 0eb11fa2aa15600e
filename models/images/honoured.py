"""Which fields of a request for pictures a model does something with.

For each engine, what differs from the surface's own fields; see ``models.surface.Differences``.
"""

from __future__ import annotations

from models.images.edits import vain
from models.images.families import FAMILIES
from models.row import Row
from models.surface import Differences

_OF_EDITS = ("scale", "background")
_OF_VIDEOS = ("frames", "seconds", "fps", "audio", "last_image")
_NOT_OF_VIDEOS = (
    "negative_prompt", "n", "steps", "guidance", "strength", "scheduler", "mask", "loras",
    "partial_images", "output_compression",
)  # fmt: skip
_ONE = {"image": {"type": "string"}}  # input picture at most
_STILL = {"output_format": {"enum": ["png", "jpeg", "webp"]}}


def of_words(row: Row) -> Differences:
    """Of a model that makes pictures of words, and of words and pictures."""
    family = FAMILIES[row.options["family"]]
    guided = family.guided or family.negative is not None
    return {
        **_without(_OF_EDITS, _OF_VIDEOS),
        **({} if family.negative else _without(("negative_prompt",))),
        **({} if guided else _without(("guidance",))),
        **({} if family.whole else _ONE),
        "scheduler": {"enum": sorted(family.schedulers)} if family.schedulers else None,
        **_STILL,
    }


def of_a_picture(row: Row) -> Differences:
    """Of a model that makes one picture of another."""
    return {**_without(vain(row), _OF_VIDEOS, ("prompt", "width", "height")), **_ONE, **_STILL}


def of_videos(row: Row) -> Differences:
    """Of a model that makes videos."""
    return {**_without(_NOT_OF_VIDEOS, _OF_EDITS), **_ONE, "output_format": {"enum": ["mp4"]}}


def _without(*names: tuple[str, ...]) -> Differences:
    return {name: None for group in names for name in group}

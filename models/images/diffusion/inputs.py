"""Input pictures and masks: a pipeline's arguments, and the pixels that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidValue
from models.images.diffusion.families import FAMILIES
from models.images.request import ImageRequest
from models.leniency import Leniency
from models.pictures.decoding import (
    decode,
    mask_of,
    mask_of_holes,
    on_white,
    without_transparency,
)
from models.pictures.resizing import fitted, padded
from models.pictures.transparency import has_holes, spread
from models.row import Row

_LEAST_SIDE, _MOST_STRETCHED = 64, 8  # limits of Flux2KleinPipeline, which raises
_STRENGTH = 0.6
_WHOLE = 1.0  # the strength for holes, whose content is unknown


@dataclass(frozen=True)
class Sizes:
    """Width and height of a picture as requested, and as the model makes it."""

    requested: tuple[int, int]
    generated: tuple[int, int]


def decoded(images: Sequence[bytes]) -> list[Any]:
    """Decode the input pictures; if there are several, an error names the index."""
    if len(images) == 1:
        return [decode(images[0], alpha=True)]
    return [decode(content, f"image[{index}]", alpha=True) for index, content in enumerate(images)]


class InputPictures:
    """Prepares input pictures for a model; its row's options are those of ``DiffusersImages``."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._family = FAMILIES[row.options["family"]]

    def task(self, request: ImageRequest, task: str, picture: Any, leniency: Leniency) -> str:
        """Return the task of a request with a picture: transparent parts may serve as the mask.

        This is dall-e-2's rule. It does not apply to models that condition on entire pictures, nor
        to a request with a strength, which changes the entire picture.
        """
        if task != "img2img" or self._family.whole or picture.mode != "RGBA":
            return task
        possible = "inpaint" in self._row.tasks and has_holes(picture.getchannel("A"))
        if request.strength is not None or not possible:
            return task
        leniency.note(
            "image",
            "image is transparent in parts and no mask came: these parts are filled, and the rest "
            "is kept; with a strength all of it changes",
        )
        return "inpaint"

    def arguments(
        self,
        request: ImageRequest,
        task: str,
        pictures: Sequence[Any],
        sizes: Sizes,
        leniency: Leniency,
    ) -> tuple[dict[str, Any], tuple[Any, Any] | None]:
        """Return the pipeline's arguments, and the picture and mask of what is kept, if any.

        Raises:
            InvalidValue: the model cannot read a picture, the mask has another size, or the
                strength leaves no step.
            MediaUndecodable: the mask cannot be read.
        """
        slug = self._row.slug
        if task == "txt2img":
            if request.strength is not None:
                leniency.leave_out("strength", "strength is of an input picture, and there is none")
            return {}, None
        if task == "img2img":
            pictures = [
                without_transparency(picture, "image", slug, leniency) for picture in pictures
            ]
        if task == "img2img" and self._family.whole:
            if request.strength is not None:
                leniency.leave_out("strength", f"{slug} reads input pictures whole")
            for picture in pictures:
                self._check_whole(picture)
            return {"image": list(pictures) if len(pictures) > 1 else pictures[0]}, None
        if task == "img2img":
            source = padded(fitted(pictures[0], *sizes.requested), *sizes.generated)
            return {"image": source, "strength": self._strength(request)}, None
        return self._masked(request, pictures[0], sizes)

    def _masked(
        self, request: ImageRequest, picture: Any, sizes: Sizes
    ) -> tuple[dict[str, Any], tuple[Any, Any]]:
        """Return the arguments to change a picture where its mask is white, and both of them."""
        source = fitted(picture, *sizes.requested)
        if request.mask is None:  # the picture's holes are the mask
            mask, source = mask_of_holes(source.getchannel("A")), spread(source)
            strength = _WHOLE
        else:
            mask = fitted(mask_of(request.mask, picture.size), *sizes.requested)
            strength = self._strength(request)
        arguments = {
            "image": padded(on_white(source), *sizes.generated),
            "mask_image": padded(mask, *sizes.generated),
            "strength": strength,
        }
        return arguments, (source, mask)

    def _check_whole(self, picture: Any) -> None:
        short, long = sorted(picture.size)
        if short < _LEAST_SIDE or long > _MOST_STRETCHED * short:
            raise InvalidValue(
                f"image has {picture.width}x{picture.height} pixels; {self._row.slug} reads "
                f"pictures of at least {_LEAST_SIDE} pixels a side, not longer than "
                f"{_MOST_STRETCHED} times their width.",
                param="image",
            )

    def _strength(self, request: ImageRequest) -> float:
        steps = request.steps or int(self._row.defaults["steps"])
        strength = _STRENGTH if request.strength is None else request.strength
        if steps * strength < 1:
            raise InvalidValue(
                f"strength {strength:g} of {steps} steps leaves none; send at least "
                f"{1 / steps:.2g}, or more steps.",
                param="strength",
            )
        return strength

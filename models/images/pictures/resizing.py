"""Pictures of another size."""

from __future__ import annotations

from typing import Any

from models.images.pictures.transparency import whiten


def fitted(picture: Any, width: int, height: int) -> Any:
    """A picture of that size: what is too long on one side is cut off on both its ends."""
    from PIL import Image, ImageOps

    if picture.size == (width, height):
        return picture
    made = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    if made.mode != "RGBA":
        return made
    colours = made.convert("RGB")
    whiten(colours, made.getchannel("A"))
    colours.putalpha(made.getchannel("A"))
    return colours


def padded(picture: Any, width: int, height: int) -> Any:
    """The picture in the middle of a larger one, its edges drawn out; undone by ``crop``."""
    import numpy as np
    from PIL import Image

    left = (width - picture.width) // 2
    top = (height - picture.height) // 2
    sides = ((top, height - picture.height - top), (left, width - picture.width - left))
    pixels = np.asarray(picture)
    more = sides if pixels.ndim == 2 else (*sides, (0, 0))
    return Image.fromarray(np.pad(pixels, more, mode="edge"))


def crop(picture: Any, width: int, height: int) -> Any:
    """The middle of a picture."""
    left = (picture.width - width) // 2
    top = (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))

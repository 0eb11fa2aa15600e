"""Resizing, padding and cropping pictures."""

from __future__ import annotations

from typing import Any

from models.pictures.transparency import whiten


def fitted(picture: Any, width: int, height: int) -> Any:
    """Resize a picture to cover a size, and crop what exceeds it on both ends."""
    from PIL import Image, ImageOps

    if picture.size == (width, height):
        return picture
    resized = ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)
    if resized.mode != "RGBA":
        return resized
    colours = resized.convert("RGB")
    whiten(colours, resized.getchannel("A"))
    colours.putalpha(resized.getchannel("A"))
    return colours


def padded(picture: Any, width: int, height: int) -> Any:
    """Pad a picture on all sides by repeating its edges; ``crop`` undoes it."""
    import numpy as np
    from PIL import Image

    left = (width - picture.width) // 2
    top = (height - picture.height) // 2
    sides = ((top, height - picture.height - top), (left, width - picture.width - left))
    pixels = np.asarray(picture)
    padding = sides if pixels.ndim == 2 else (*sides, (0, 0))
    return Image.fromarray(np.pad(pixels, padding, mode="edge"))


def crop(picture: Any, width: int, height: int) -> Any:
    """Return the middle of a picture."""
    left = (picture.width - width) // 2
    top = (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))

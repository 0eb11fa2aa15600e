"""Decoding pictures that come from a client, within limits."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from models.errors import InvalidValue, MediaUndecodable
from models.leniency import Leniency
from models.pictures import colour, jpeg, png, transparency

_INPUT_PIXELS = 64_000_000  # larger pictures are decompression bombs, not photos
_MOST_SIDE = 16_384  # longer pictures are no photos either, and become very many tiles
_MOST_SCANNED = 1_300_000_000  # scans of a JPEG times pixels: about a second of CPU time
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")  # Pillow reads more, but EPS would start Ghostscript
_BAND = 256  # rows that are hashed at once


def decode(content: bytes, param: str = "image", *, alpha: bool = False) -> Any:
    """Decode a picture: upright, in sRGB, with eight bits per channel.

    Args:
        content: a PNG, JPEG, WebP or GIF; of an animation, the first picture is decoded.
        param: the request's field, for errors.
        alpha: whether transparency is kept. Otherwise the picture is composed on white.

    Returns:
        RGB, or RGBA if ``alpha`` and a pixel is transparent. Fully transparent pixels are white.

    Raises:
        MediaUndecodable: Pillow cannot read it, or it exceeds a limit.
    """
    colours, opacity = _channels(content, param)
    if opacity is None:
        return colours
    if not alpha:
        transparency.on_white(colours, opacity)
        return colours
    transparency.whiten(colours, opacity)
    colours.putalpha(opacity)
    return colours


def mask_of(content: bytes, size: tuple[int, int]) -> Any:
    """Decode a mask: greyscale, white where a picture is to change and black elsewhere.

    As in OpenAI's interface, the mask's transparent parts are to change. In a mask without pixels
    of less than half opacity, its white parts are to change.

    Args:
        content: the encoded mask.
        size: of the picture, width and height.

    Raises:
        MediaUndecodable: it cannot be read.
        InvalidValue: its size is not the picture's.
    """
    colours, opacity = _channels(content, "mask", managed=False)
    if colours.size != size:
        raise InvalidValue(
            f"mask has {colours.width}x{colours.height} pixels, image {size[0]}x{size[1]}; they "
            "must be alike.",
            param="mask",
        )
    if opacity is not None and transparency.has_holes(opacity):
        return mask_of_holes(opacity)
    return colours.convert("L")


def mask_of_holes(opacity: Any) -> Any:
    """Return the mask for the transparent parts of an alpha channel."""
    from PIL import ImageChops

    return ImageChops.invert(opacity)


def _channels(content: bytes, param: str, *, managed: bool = True) -> tuple[Any, Any]:
    """A picture's colours, in RGB, and its alpha channel, None where all is opaque.

    Args:
        content: the encoded picture.
        param: the request's field, for errors.
        managed: whether colours are converted to sRGB; the values of a mask are no colours.

    Raises:
        MediaUndecodable: as ``decode`` says.
    """
    from PIL import Image

    try:
        return _read(content, param, managed)
    except MediaUndecodable:
        raise
    except Image.DecompressionBombError as error:  # beyond what Pillow itself would open
        raise _too_large("too many", param) from error
    except Exception as error:  # decoders fail in any way on data made to break them
        raise MediaUndecodable(
            "The image cannot be read; send a PNG, JPEG, WebP or GIF.", param=param
        ) from error


def _read(content: bytes, param: str, managed: bool) -> tuple[Any, Any]:
    from PIL import Image, ImageOps

    profile: bytes | None = None
    is_png = content.startswith(png.SIGNATURE)
    if is_png:
        content, profile = png.plain(content)
    with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
        _check_size(opened.size, content, param)
        profile = profile or opened.info.get("icc_profile")
        picture = _loaded(opened, content, param)
        if is_png:
            _scale_transparency(picture, png.depth(content))
        ImageOps.exif_transpose(picture, in_place=True)
        picture = _in_eight_bits(picture)
        opacity = picture.getchannel("A") if picture.mode in ("LA", "RGBA") else None
        if opacity is not None and opacity.getextrema()[0] == 255:
            opacity = None
        colours = colour.srgb(picture, profile if managed else None)
        colours.info = {}  # encoders would write a profile and a comment that they find here
        return colours, opacity


def _check_size(size: tuple[int, int], content: bytes, param: str, tries: int = 1) -> None:
    """Check that a picture is small enough to be decoded ``tries`` times.

    Raises:
        MediaUndecodable: it is too large.
    """
    pixels = size[0] * size[1]
    if pixels > _INPUT_PIXELS or max(size) > _MOST_SIDE:
        raise _too_large(f"{size[0]}x{size[1]}", param)
    if content.startswith(jpeg.START):
        scans = jpeg.scans(content)
        if scans * pixels * tries > _MOST_SCANNED:
            raise MediaUndecodable(
                f"The image is a JPEG of {scans} scans, too many for its {pixels} pixels; save it "
                "with fewer.",
                param=param,
            )


def _loaded(opened: Any, content: bytes, param: str) -> Any:
    """Decode a picture, even a JPEG that lacks only its last marker."""
    from PIL import Image

    try:
        opened.load()
        return opened
    except OSError:
        if not content.startswith(jpeg.START):
            raise
        _check_size(opened.size, content, param, jpeg.TRIES)
        whole = jpeg.completed(content, _digest)
        if whole is None:
            raise
    picture = Image.open(io.BytesIO(whole), formats=_FORMATS)
    picture.load()
    return picture


def _digest(content: bytes) -> bytes:
    from PIL import Image

    seen = hashlib.blake2b()
    with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
        for top in range(0, picture.height, _BAND):
            bottom = min(top + _BAND, picture.height)
            seen.update(picture.crop((0, top, picture.width, bottom)).tobytes())
    return seen.digest()


def _scale_transparency(picture: Any, depth: int) -> None:
    """Convert the transparent colour of a PNG to the 8-bit samples that Pillow makes.

    The file stores it at its own bit depth (section 11.3.2.1).
    """
    value = picture.info.get("transparency")
    if picture.mode == "L" and depth < 8 and isinstance(value, int):
        picture.info["transparency"] = value * 255 // (2**depth - 1)
    elif picture.mode == "RGB" and depth == 16 and isinstance(value, tuple):
        picture.info["transparency"] = tuple(sample >> 8 for sample in value)


def _in_eight_bits(picture: Any) -> Any:
    """Convert to eight bits per channel, without a palette, with transparency as a channel."""
    if picture.mode.startswith("I"):
        return _from_sixteen_bits(picture)
    if picture.mode == "CMYK":
        return picture
    grey = picture.mode in ("1", "L", "LA")
    if picture.has_transparency_data:
        return picture.convert("LA" if grey else "RGBA")
    if grey or picture.mode == "RGB":
        return picture
    return picture.convert("RGB")


def _from_sixteen_bits(picture: Any) -> Any:
    """Convert 16-bit grey to 8 bits; Pillow would clip values above 255."""
    import numpy as np
    from PIL import Image

    shades: Any = ((np.arange(65536, dtype=np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    values = np.asarray(picture)
    grey = Image.fromarray(shades[values])
    hidden = picture.info.get("transparency")
    if isinstance(hidden, int):
        grey.putalpha(Image.fromarray(np.where(values == hidden, 0, 255).astype(np.uint8)))
    return grey


def _too_large(pixels: str, param: str) -> MediaUndecodable:
    return MediaUndecodable(
        f"The image has {pixels} pixels; at most {_INPUT_PIXELS} are read, and {_MOST_SIDE} a "
        "side.",
        param=param,
    )


def without_transparency(picture: Any, param: str, slug: str, leniency: Leniency) -> Any:
    """Compose a picture on white for a model without transparency, and add a warning.

    Raises:
        InvalidValue: a pixel is transparent, and the request is strict.
    """
    if picture.mode != "RGBA":
        return picture
    leniency.adapt(param, f"{slug} sees no transparency: what is transparent is white to it")
    return on_white(picture)


def on_white(picture: Any) -> Any:
    """Compose a picture on white; returns RGB."""
    if picture.mode != "RGBA":
        return picture
    colours = picture.convert("RGB")
    transparency.on_white(colours, picture.getchannel("A"))
    return colours

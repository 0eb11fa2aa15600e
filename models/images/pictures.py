"""Encoded pictures in and out."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

from models.errors import InvalidValue, MediaUndecodable
from models.images.request import Output, Picture

_INPUT_PIXELS = 64_000_000  # a larger input picture is a bomb, not a photo
_MOST_SIDE = 16_384  # a longer picture is no photo either, and becomes very many tiles
_SCAN = b"\xff\xda"  # of a progressive JPEG, which has some ten
_MOST_SCANNED = 1_300_000_000  # scans times pixels: a second of a processor
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")  # not all of Pillow's: EPS would start Ghostscript
_QUALITY = 90  # of jpeg and webp
_PREVIEW_QUALITY = 75
_INLINE_QUALITIES = (95, 80, 60)  # of webp in place of a png that is too large
_BASE64 = 4 / 3
_BYTES = {"png": 2.2, "jpeg": 0.5, "webp": 0.4}  # of a pixel of a photo with much in it


def decode(content: bytes, param: str = "image", *, alpha: bool = False) -> Any:
    """Read an encoded picture, upright, in RGB; in RGBA where it has ``alpha`` and may keep it.

    Raises:
        MediaUndecodable: it is no picture that Pillow reads, or an absurdly large one.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content), formats=_FORMATS) as picture:
            pixels = picture.width * picture.height
            if pixels > _INPUT_PIXELS or max(picture.size) > _MOST_SIDE:
                raise _too_large(f"{picture.width}x{picture.height}", param)
            if picture.format == "JPEG" and content.count(_SCAN) * pixels > _MOST_SCANNED:
                raise MediaUndecodable(
                    f"The image is a JPEG of {content.count(_SCAN)} scans, too many for its "
                    f"{pixels} pixels; save it with fewer.",
                    param=param,
                )
            keeps = alpha and picture.has_transparency_data
            ImageOps.exif_transpose(picture, in_place=True)
            return picture.convert("RGBA" if keeps else "RGB")
    except MediaUndecodable:
        raise
    except Image.DecompressionBombError as error:  # beyond what Pillow itself would open
        raise _too_large("too many", param) from error
    except Exception as error:  # decoders fail in any way on data made to break them
        raise MediaUndecodable(
            "The image cannot be read; send a PNG, JPEG, WebP or GIF.", param=param
        ) from error


def _too_large(pixels: str, param: str) -> MediaUndecodable:
    return MediaUndecodable(
        f"The image has {pixels} pixels; at most {_INPUT_PIXELS} are read, and {_MOST_SIDE} a "
        "side.",
        param=param,
    )


def mask_of(content: bytes, size: tuple[int, int]) -> Any:
    """What of a picture is to change: white there, black elsewhere, in grey.

    As OpenAI has it, what is transparent in the mask is to change; of one without transparency,
    what is white.

    Args:
        content: the encoded mask.
        size: of the picture, width and height.

    Raises:
        MediaUndecodable: it cannot be read.
        InvalidValue: it is not as large as the picture.
    """
    from PIL import ImageOps

    picture = decode(content, "mask", alpha=True)
    if picture.size != size:
        raise InvalidValue(
            f"mask has {picture.width}x{picture.height} pixels, image {size[0]}x{size[1]}; they "
            "must be alike.",
            param="mask",
        )
    if picture.mode == "RGBA":
        return ImageOps.invert(picture.getchannel("A"))
    return picture.convert("L")


def fitted(picture: Any, width: int, height: int) -> Any:
    """A picture of that size: what is too long on one side is cut off on both its ends."""
    from PIL import Image, ImageOps

    if picture.size == (width, height):
        return picture
    return ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS)


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


def encode(picture: Any, format_: str, quality: int = _QUALITY) -> bytes:
    """Encode a picture; ``quality`` is of jpeg and webp, 0 to 100."""
    options: dict[str, Any] = {"quality": quality}
    if format_ == "png":
        options = {"compress_level": 1}  # a quarter of the time of level 6, a fifth more bytes
    buffer = io.BytesIO()
    picture.save(buffer, format=format_.upper(), **options)
    return buffer.getvalue()


def check_delivery(output: Output, count: int, width: int, height: int) -> None:
    """Refuse, before they are made, pictures that an answer could not hold.

    Where the client names no format, one is found that they fit in.

    Raises:
        InvalidValue: they would be too large.
    """
    if output.format is None:
        return
    one_bytes = width * height * _BYTES[output.format] * _BASE64
    for number, limit_bytes, what in (
        (count, output.limit_bytes, "an answer"),
        (1, output.each_limit_bytes, "an event of a stream"),
    ):
        if limit_bytes is not None and number * one_bytes > limit_bytes:
            raise InvalidValue(
                f"{number} {output.format} of {width}x{height} would be some "
                f"{number * one_bytes / 1e6:.1f} MB, and {what} holds {limit_bytes / 1e6:.1f}; "
                "ask for fewer or smaller ones or another output_format, or configure a bucket.",
                param="output_format",
                code="output_too_large",
            )


def encoded(
    pictures: Sequence[Any], seeds: Sequence[int | None], output: Output
) -> tuple[Picture, ...]:
    """Encode pictures as the client wants them.

    Where it names no format, it is png; webp where that would be too large for an answer.
    """
    format_ = output.format or "png"
    quality = _QUALITY if output.compression is None else output.compression
    contents = [encode(picture, format_, quality) for picture in pictures]
    if output.format is None and _beyond(contents, output, output.inline_limit_bytes):
        format_ = "webp"
        for quality in _INLINE_QUALITIES:
            contents = [encode(picture, format_, quality) for picture in pictures]
            if not _beyond(contents, output):
                break
    return tuple(
        Picture(content, format_, picture.width, picture.height, seed)
        for content, picture, seed in zip(contents, pictures, seeds, strict=True)
    )


def preview(pixels: Any, up: tuple[int, int], size: tuple[int, int], output: Output) -> Picture:
    """A picture of the size that is wanted, of one that is coarser.

    Args:
        pixels: RGB, shape (rows, columns, 3), uint8.
        up: width and height of what the model makes.
        size: of the picture, which is the middle of that.
        output: how it leaves; a preview of no named format is webp.
    """
    from PIL import Image

    picture = crop(Image.fromarray(pixels).resize(up, Image.Resampling.BICUBIC), *size)
    format_ = output.format or "webp"
    quality = _PREVIEW_QUALITY if output.compression is None else output.compression
    content = encode(picture, format_, quality)
    if _beyond([content], output):
        format_, content = "webp", encode(picture, "webp", _INLINE_QUALITIES[-1])
    return Picture(content, format_, *size)


def _beyond(contents: Sequence[bytes], output: Output, inline_bytes: int | None = None) -> bool:
    """Whether pictures are larger than they may be, together or one of them."""
    sizes = [len(content) * _BASE64 for content in contents]
    limits = [one for one in (inline_bytes, output.limit_bytes) if one is not None]
    each = output.each_limit_bytes
    return sum(sizes) > min(limits, default=math.inf) or (each is not None and max(sizes) > each)

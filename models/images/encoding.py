"""Encoding pictures in a format and a size that fit an answer."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from models.errors import InvalidValue
from models.images.request import Output, Picture
from models.leniency import LeftOut
from models.pictures.decoding import on_white
from models.pictures.resizing import crop

_QUALITY = 90  # default, of jpeg and webp
_PREVIEW_QUALITY = 75
_STEPS = (95, 80, 65, 50)  # qualities to try, from the best
_LEAST_SHARE = {80: 0.25, 65: 0.16}  # smallest size to expect, as a share of that at 95
_BASE64 = 4 / 3
_BYTES = {"png": 2.2, "jpeg": 0.5, "webp": 0.4}  # per pixel of a detailed photo
_SIDES = {"webp": 16_383, "jpeg": 65_500}  # longest side in the format, or in its library
_SHRINK = 0.9  # safety factor for the side that should fit
_BUCKET = (
    "for links, give an s3Config with the job or set the BUCKET_ variables of the endpoint, and "
    "ask for no b64_json"
)


def encode(picture: Any, format_: str, quality: int = _QUALITY) -> bytes:
    """Encode a picture.

    Args:
        picture: RGB or RGBA; composed on white for jpeg.
        format_: ``png``, ``jpeg`` or ``webp``.
        quality: of jpeg and webp, 0 to 100.
    """
    options: dict[str, Any] = {"quality": quality}
    if format_ == "png":
        options = {"compress_level": 1}  # takes a quarter of level 6's time, for a fifth more bytes
    if format_ == "jpeg":
        picture = on_white(picture)
    buffer = io.BytesIO()
    picture.save(buffer, format=format_.upper(), **options)
    return buffer.getvalue()


def check_delivery(
    output: Output, count: int, width: int, height: int, *, opaque: bool = True
) -> None:
    """Check, before pictures are made, that their format and an answer can hold them.

    If the client names no format, ``encoded`` makes them fit, unless they are too long for every
    format that compresses better than png.

    Raises:
        InvalidValue: they would be too large.
    """
    longest = max(width, height)
    format_ = output.format
    if format_ is None:
        if _smaller_format(longest, opaque) is not None:
            return
        format_ = "png"
    if longest > (most := _SIDES.get(format_, longest)):
        others = [name for name in _BYTES if longest <= _SIDES.get(name, longest)]
        raise InvalidValue(
            f"output_format: a {format_} has at most {most} pixels a side, and the picture would "
            f"have {width}x{height}; ask for {' or '.join(others)}, or for a smaller one.",
            param="output_format",
        )
    one_bytes = width * height * _BYTES[format_] * _BASE64
    for number, limit_bytes, what in (
        (count, output.limit_bytes, "an answer"),
        (1, output.each_limit_bytes, "an event of a stream"),
    ):
        if limit_bytes is not None and number * one_bytes > limit_bytes:
            raise InvalidValue(
                f"{number} {format_} of {width}x{height} would be some "
                f"{number * one_bytes / 1e6:.1f} MB, and {what} holds {limit_bytes / 1e6:.1f}; "
                "ask for fewer or smaller ones or another output_format, or configure a bucket.",
                param="output_format",
                code="output_too_large",
            )


@dataclass(frozen=True)
class Encoded:
    """Encoded pictures, and the warnings about their format."""

    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...] = ()


def encoded(pictures: Sequence[Any], seeds: Sequence[int | None], output: Output) -> Encoded:
    """Encode pictures in the client's format.

    Without one they are png; if png exceeds what an answer should hold, they are webp, or jpeg if
    too long for it, in the best quality that fits.
    """
    format_ = output.format or "png"
    left_out: tuple[LeftOut, ...] = ()
    quality = _QUALITY if output.compression is None else output.compression
    contents = [encode(picture, format_, quality) for picture in pictures]
    smaller = _smaller_format(max(map(_longest, pictures)), all(map(_is_opaque, pictures)))
    if output.format is None and smaller is not None and not _fits(contents, output):
        whole_bytes = _base64_bytes(contents)
        format_ = smaller
        contents, quality = _stepped(pictures, format_, output)
        left_out = (_warning(contents, format_, quality, whole_bytes, output),)
    elif output.format is None and not _fits(contents, output):
        left_out = (_warning(contents, format_, None, 0, output),)
    made = [
        Picture(content, format_, picture.width, picture.height, seed)
        for content, picture, seed in zip(contents, pictures, seeds, strict=True)
    ]
    return Encoded(tuple(map(partial(_with_copy, output), made, pictures)), left_out)


def preview(
    pixels: Any, generated: tuple[int, int], size: tuple[int, int], output: Output
) -> Picture:
    """Enlarge a coarse picture to the requested size, and encode it.

    Args:
        pixels: RGB, shape (rows, columns, 3), uint8.
        generated: width and height that the model makes.
        size: of the result, which is cropped from the middle.
        output: its format and limits; without a format, previews are webp.
    """
    from PIL import Image

    picture = crop(Image.fromarray(pixels).resize(generated, Image.Resampling.BICUBIC), *size)
    smaller = _smaller_format(max(size), opaque=True) or "png"
    format_ = output.format or smaller
    quality = _PREVIEW_QUALITY if output.compression is None else output.compression
    content = encode(picture, format_, quality)
    if not _fits([content], output, inline=False):
        format_, content = smaller, encode(picture, smaller, _STEPS[-1])
    return Picture(content, format_, *size)


def _smaller_format(longest: int, opaque: bool) -> str | None:
    """Return a format that compresses better than png and holds this side, or None."""
    if longest <= _SIDES["webp"]:
        return "webp"
    return "jpeg" if opaque and longest <= _SIDES["jpeg"] else None


def _stepped(pictures: Sequence[Any], format_: str, output: Output) -> tuple[list[bytes], int]:
    """Encode in the best quality that fits, or else the lowest; return that quality, too."""
    first, *lower = _STEPS
    contents = [encode(picture, format_, first) for picture in pictures]
    quality, best_bytes = first, _base64_bytes(contents)
    limit_bytes = _limit_bytes(output, len(pictures))
    while lower and not _fits(contents, output):
        quality = lower.pop(0)
        if lower and best_bytes * _LEAST_SHARE[quality] > limit_bytes:
            continue  # skipped, because each try takes seconds for a large picture
        contents = [encode(picture, format_, quality) for picture in pictures]
    return contents, quality


def _warning(
    contents: Sequence[bytes], format_: str, quality: int | None, whole_bytes: int, output: Output
) -> LeftOut:
    """Return the warning that names the chosen format, and why."""
    count = len(contents)
    what, they = ("The picture is", "it") if count == 1 else (f"The {count} pictures are", "they")
    what += f" {format_}" if quality is None else f" {format_} of quality {quality}"
    size_bytes, most = _base64_bytes(contents), f"{_limit_bytes(output, count) / 1e6:.1f} MB"
    if _fits(contents, output):
        message = (
            f"{what}: as png {they} would have {whole_bytes / 1e6:.1f} MB, and an answer without a "
            f"bucket should have at most {most}. Name an output_format to choose; {_BUCKET}."
        )
    else:
        message = (
            f"{what} and {'has' if count == 1 else 'have'} {size_bytes / 1e6:.1f} MB, and an "
            f"answer without a bucket should have at most {most}; {_BUCKET}."
        )
    return LeftOut("output_format", message)


def _with_copy(output: Output, made: Picture, picture: Any) -> Picture:
    if output.copy_limit_bytes is None:
        return made
    return replace(made, copy=partial(_copy, picture, made, output.copy_limit_bytes))


def _copy(picture: Any, made: Picture, limit_bytes: int) -> Picture:
    """Return what an event carries beside a link: the picture itself, or a smaller copy."""
    if len(made.content) * _BASE64 <= limit_bytes:
        return made
    while True:
        format_ = _smaller_format(_longest(picture), _is_opaque(picture)) or "png"
        for quality in _STEPS:
            content = encode(picture, format_, quality)
            if len(content) * _BASE64 <= limit_bytes or max(picture.size) == 1:
                width, height = picture.size
                return Picture(content, format_, width, height, made.seed)
        ratio = (limit_bytes / (len(content) * _BASE64)) ** 0.5 * _SHRINK
        sides = (max(1, int(side * ratio)) for side in picture.size)
        picture = picture.resize(tuple(sides))


def _limit_bytes(output: Output, count: int, *, inline: bool = True) -> float:
    """Return the limit of so many pictures together, in bytes of base64."""
    each = output.each_limit_bytes
    limits = (
        output.inline_limit_bytes if inline else None,
        output.limit_bytes,
        None if each is None else each * count,
    )
    return min((limit for limit in limits if limit is not None), default=math.inf)


def _fits(contents: Sequence[bytes], output: Output, *, inline: bool = True) -> bool:
    """Whether pictures fit their limits, together and each by itself."""
    each = output.each_limit_bytes
    if each is not None and max(map(len, contents)) * _BASE64 > each:
        return False
    return _base64_bytes(contents) <= _limit_bytes(output, len(contents), inline=inline)


def _base64_bytes(contents: Sequence[bytes]) -> int:
    return int(sum(map(len, contents)) * _BASE64)


def _longest(picture: Any) -> int:
    return int(max(picture.size))


def _is_opaque(picture: Any) -> bool:
    return bool(picture.mode != "RGBA")

"""The quality in which a video fits an answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.images.request import Output, Picture
from models.images.video.mp4 import QUALITIES
from models.leniency import LeftOut

_BASE64 = 4 / 3


def fitting(encode: Callable[..., bytes], output: Output) -> tuple[bytes, tuple[LeftOut, ...]]:
    """Encode a video in the best quality that fits an answer without a bucket, or in the lowest.

    Args:
        encode: takes ``quality``, one of ``QUALITIES``.
        output: with the limit.

    Returns:
        The file, and a warning if its quality is reduced or it does not fit.
    """
    content, (first, *lower) = encode(), QUALITIES
    limit_bytes, quality = output.inline_limit_bytes, first
    if limit_bytes is None or output.format is not None:
        return content, ()
    while len(content) * _BASE64 > limit_bytes and lower:
        quality = lower.pop(0)
        content = encode(quality=quality)
    size, most = f"{len(content) * _BASE64 / 1e6:.1f} MB", f"{limit_bytes / 1e6:.1f}"
    message = f"The video is encoded with a rate factor of {quality} in place of {first}"
    if len(content) * _BASE64 > limit_bytes:
        message += f" and has {size}, more than the {most} that an answer should have"
    elif quality == first:
        return content, ()
    message += (
        ", for an answer without a bucket: name output_format mp4 to have it as it is, or give an "
        "s3Config with the job, or set the BUCKET_ variables of the endpoint, for a link."
    )
    return content, (LeftOut("output_format", message),)


def smaller_copy(made: Picture, encode: Callable[..., bytes], limit_bytes: int) -> Picture | None:
    """Return what an event carries beside a link: the video, or one of lower quality that fits.

    None if even the lowest quality does not fit.
    """
    content = made.content
    for quality in QUALITIES[1:]:
        if len(content) * _BASE64 <= limit_bytes:
            break
        content = encode(quality=quality)
    fits = len(content) * _BASE64 <= limit_bytes
    return replace(made, content=content) if fits else None

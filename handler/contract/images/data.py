"""Pictures in an answer or an event: a link or base64, and what is known of each."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import NotRequired, TypedDict

from handler.contract.base import Call
from handler.contract.images.engine_request import as_url, carries_copies
from handler.contract.together import together
from models.images.request import Picture
from models.leniency import LeftOut


class ContentFilter(TypedDict):
    """The safety checker's verdict on a picture; a flagged picture does not leave."""

    checked_by: str
    flagged: bool


class ImageData(TypedDict):
    """One picture: a URL or base64, and (our extensions) its seed and true size in pixels.

    Of a video also how many frames it has, how many a second, and its length.
    """

    url: NotRequired[str]
    b64_json: NotRequired[str]
    seed: NotRequired[int]
    width: int
    height: int
    frames: NotRequired[int]
    fps: NotRequired[float]
    seconds: NotRequired[float]
    content_filter: NotRequired[ContentFilter]


async def all_data(
    call: Call, pictures: Sequence[Picture], withheld: Sequence[bool] | None
) -> list[ImageData]:
    """Return the data of each picture, in order."""
    return await together(
        data_of(call, picture, index, withheld) for index, picture in enumerate(pictures)
    )


async def data_of(
    call: Call, picture: Picture, index: int, withheld: Sequence[bool] | None
) -> ImageData:
    """A picture and what is known of it; one that is withheld does not leave.

    Raises:
        StorageFailed: the bucket did not take it.
    """
    facts: ImageData = {"width": picture.width, "height": picture.height}
    if picture.seed is not None:
        facts["seed"] = picture.seed
    if picture.frames is not None and picture.fps is not None:
        facts["frames"], facts["fps"] = picture.frames, round(picture.fps, 3)
        facts["seconds"] = round(picture.frames / picture.fps, 3)
    if withheld is not None:
        checked_by = call.helpers["safety"].row.slug
        facts["content_filter"] = {"checked_by": checked_by, "flagged": withheld[index]}
        if withheld[index]:
            return facts
    if as_url(call) and call.bucket is not None:
        url = await call.bucket.store(
            f"{call.job_id}/{index if picture.seed is None else picture.seed}.{picture.format}",
            picture.content,
            f"{'image' if picture.frames is None else 'video'}/{picture.format}",
        )
        return {"url": url, **facts}
    return {"b64_json": as_base64(picture), **facts}


def as_base64(picture: Picture) -> str:
    """The encoded picture as base64."""
    return base64.b64encode(picture.content).decode("ascii")


async def copy_of(call: Call, picture: Picture) -> tuple[dict[str, str], list[LeftOut]]:
    """A picture as base64 beside the link to it, and a warning where it is not the same picture."""
    if not carries_copies(call) or picture.copy is None:
        return {}, []
    copy = await asyncio.to_thread(picture.copy)
    if copy is None:
        message = "b64_json was left out, as an event cannot hold it: url leads to it."
        return {}, [LeftOut("b64_json", message)]
    content = {"b64_json": as_base64(copy)}
    if copy.content == picture.content:
        return content, []
    message = (
        f"b64_json is a {copy.format} of {copy.width}x{copy.height} that an event can hold; url "
        f"leads to the {picture.format} of {picture.width}x{picture.height} as it was made."
    )
    return content, [LeftOut("b64_json", message)]

"""Images: ``POST /v1/images/generations`` and, with an input image, edits.

Ours besides: ``/v1/images/upscale`` and ``/v1/images/background``. Without a route, the model says
what is done.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NotRequired, TypedDict

from handler.contract.base import Call, Operation, Surface, run_told, with_notice
from handler.contract.images.data import ImageData, all_data, as_base64, copy_of, data_of
from handler.contract.images.engine_request import engine_request
from handler.contract.images.fields import IMAGE_NAMES
from handler.contract.images.request import ImagesRequest, PictureRequest
from handler.contract.samples import SQUARE
from handler.contract.streaming import Whole, to_client
from handler.contract.warnings import with_warnings
from models.errors import ContentWithheld
from models.images.request import Images, Picture, Preview, ScreenRequest
from models.leniency import LeftOut, Leniency
from models.row import Row


class ImagesAnswer(TypedDict):
    """OpenAI's ImagesResponse; ``model``, ``notice`` and ``warnings`` are our extensions."""

    created: int
    data: list[ImageData]
    output_format: str
    usage: dict[str, Any]
    model: str
    notice: NotRequired[str]


async def answer(call: Call) -> dict[str, Any]:
    """Make the pictures of one request."""
    leniency = Leniency(call.request.strict)
    request = await engine_request(call, leniency)
    made = await run_told(call, request)
    if not isinstance(made, Images):
        raise TypeError(f"{call.row.slug} ended with {type(made).__name__}")
    withheld = await _withheld(call, made.pictures)
    data = await all_data(call, made.pictures, withheld)
    return _whole(call, made, data, [*leniency.left_out, *made.left_out])


def _whole(
    call: Call, made: Images, data: list[ImageData], left_out: Sequence[LeftOut]
) -> dict[str, Any]:
    """OpenAI's ImagesResponse."""
    shaped: ImagesAnswer = {
        "created": int(time.time()),
        "data": data,
        "output_format": made.pictures[0].format,
        "usage": _usage(made.prompt_tokens, made.picture_tokens),
        "model": call.row.slug,
    }
    return with_warnings(with_notice({**shaped}, call.row), left_out)


async def stream(call: Call) -> AsyncGenerator[Any, None]:
    """Make the pictures of one request, and show previews of them on the way, in OpenAI's events.

    Where there are several, each event says which it is of, by ``index``.
    """
    async with aclosing(to_client(_events(call), _apart, call.route, named=True)) as events:
        async for event in events:
            yield event


async def _events(call: Call) -> AsyncGenerator[dict[str, Any] | Whole, None]:
    leniency = Leniency(call.request.strict)
    request = await engine_request(call, leniency)
    async with call.lease() as model, aclosing(model.stream(request)) as events:
        async for event in events:
            if isinstance(event, Preview):
                picture = await asyncio.to_thread(event.encoded)
                shown = {**_shown(call, event.part, picture), "b64_json": as_base64(picture)}
                yield _event(call, "partial_image", shown, partial_image_index=event.order)
            made = event
    withheld = await _withheld(call, made.pictures)
    share = made.picture_tokens // len(made.pictures)
    vain = [*leniency.left_out, *made.left_out]
    sent: list[ImageData] = []
    for index, picture in enumerate(made.pictures):
        data = await data_of(call, picture, index, withheld)
        sent.append(data)
        copied, notes = await copy_of(call, picture) if "url" in data else ({}, [])
        facts = {**_shown(call, index, picture), **copied, **data}
        done = _event(call, "completed", facts, usage=_usage(made.prompt_tokens, share))
        event = with_notice({**done, "model": call.row.slug}, call.row)
        yield with_warnings(event, [*vain, *notes])
    yield Whole(_whole(call, made, sent, vain))


def _apart(_: Any, __: Any) -> None:
    """Events of pictures are never joined into one."""


def _event(call: Call, what: str, facts: dict[str, Any], **more: Any) -> dict[str, Any]:
    edits = call.request.image is not None and (call.route or "/edits").endswith("/edits")
    return {"type": f"image_{'edit' if edits else 'generation'}.{what}", **facts, **more}


def _shown(call: Call, index: int, picture: Picture) -> dict[str, Any]:
    """Return OpenAI's fields of a picture in an event."""
    return {
        "index": index,
        "created_at": int(time.time()),
        "size": f"{picture.width}x{picture.height}",
        "quality": "auto",
        "background": call.request.background or "auto",
        "output_format": picture.format,
    }


def _usage(prompt_tokens: int, picture_tokens: int) -> dict[str, Any]:
    """OpenAI's, in tokens as the model has them: of words, and of the pictures that it makes."""
    return {
        "input_tokens": prompt_tokens,
        "input_tokens_details": {"text_tokens": prompt_tokens, "image_tokens": 0},
        "output_tokens": picture_tokens,
        "total_tokens": prompt_tokens + picture_tokens,
    }


async def _withheld(call: Call, pictures: Sequence[Picture]) -> Sequence[bool] | None:
    """Which pictures do not leave; None where nobody looks.

    Raises:
        ContentWithheld: none of them does.
    """
    checker = call.helpers.get("safety")
    if checker is None:
        return None
    if pictures[0].stills is not None:  # a video: some of its frames speak for it
        shown = await asyncio.to_thread(pictures[0].stills)
        flagged: Sequence[bool] = [any(await checker.run(ScreenRequest(tuple(shown))))]
    else:
        contents = tuple(picture.content for picture in pictures)
        flagged = await checker.run(ScreenRequest(contents))
    if all(flagged):
        raise ContentWithheld(
            f"{checker.row.slug} withholds what was made: it takes it for unsafe. Another prompt "
            "or another seed may do.",
            param="prompt",
        )
    return flagged


_MARKS = ("prompt", "image", *IMAGE_NAMES)


def _rehearsal(row: Row) -> dict[str, Any]:
    """A picture of the model's own size in one step, or its work on a given one."""
    if not row.tasks & {"img-upscale", "img-rmbg"}:
        return {"prompt": "a square", "steps": 1, "seed": 1}
    return {"image": SQUARE}


SURFACE = Surface(
    name="images",
    operations=(
        Operation(
            ImagesRequest,
            ("/v1/images/generations", "/v1/images/edits"),
            answer,
            stream,
            marks=_MARKS,
            rehearsal=_rehearsal,
        ),
        Operation(PictureRequest, ("/v1/images/upscale",), answer, stream, task="img-upscale"),
        Operation(PictureRequest, ("/v1/images/background",), answer, stream, task="img-rmbg"),
        Operation(
            ImagesRequest,
            ("/v1/images/variations",),
            answer,
            refused="Variations of a picture are not made here; POST it to /v1/images/edits with a "
            "prompt, and with a strength that says how much is to change.",
        ),
    ),
    companions=frozenset({"documents"}),
    concurrency=2,
)

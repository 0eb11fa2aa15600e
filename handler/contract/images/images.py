"""Images: ``POST /v1/images/generations`` and, with an input image, edits.

Ours besides: ``/v1/images/upscale`` and ``/v1/images/background``. Without a route, the model says
what is done.
"""

from __future__ import annotations

import base64
import random
import time
from typing import Any, NotRequired, TypedDict

from handler.contract.base import Call, Operation, Surface, with_notice, with_warnings
from handler.contract.images.request import IMAGE_NAMES, ImagesRequest
from models.errors import InvalidValue
from models.images.request import ImageRequest, Images, Output, Picture

_SHAPE_BYTES = 10_000  # of an answer, around its pictures
IMAGE_LIMIT_BYTES = 32 * 1024 * 1024


class ImageData(TypedDict):
    """One picture: a URL or base64, and (our extensions) its seed and true size in pixels."""

    url: NotRequired[str]
    b64_json: NotRequired[str]
    seed: NotRequired[int]
    width: int
    height: int


class ImagesAnswer(TypedDict):
    """OpenAI's ImagesResponse; ``model``, ``notice`` and ``warnings`` are our extensions."""

    created: int
    data: list[ImageData]
    output_format: str
    model: str
    notice: NotRequired[str]


async def answer(call: Call) -> dict[str, Any]:
    """Make the pictures of one request."""
    request: ImagesRequest = call.request
    if (call.route or "").endswith("/edits") and not request.image:
        raise InvalidValue(
            "image is required: the picture to edit.",
            param="image",
            code="missing_required_parameter",
        )
    as_url = _as_url(call)
    engine_request = await _to_engine(call, as_url)
    async with call.lease() as model:
        made: Images = await model.run(engine_request)
    shaped: ImagesAnswer = {
        "created": int(time.time()),
        "data": [
            await _data(call, picture, index, as_url) for index, picture in enumerate(made.pictures)
        ],
        "output_format": made.pictures[0].format,
        "model": call.row.slug,
    }
    return with_warnings(with_notice({**shaped}, call.row), made.left_out)


def _as_url(call: Call) -> bool:
    """Whether pictures leave as URLs: where a bucket is there, unless base64 is asked for.

    Raises:
        InvalidValue: a URL is asked for and there is no bucket.
    """
    wanted = call.request.response_format
    if wanted == "url" and call.bucket is None:
        raise InvalidValue(
            "response_format is 'url' and no bucket is configured; send 'b64_json', give an "
            "s3Config with the job, or set the BUCKET_ variables of the endpoint.",
            param="response_format",
            code="bucket_not_configured",
        )
    return call.bucket is not None and wanted != "b64_json"


async def _to_engine(call: Call, as_url: bool) -> ImageRequest:
    request: ImagesRequest = call.request
    width, height = request.sides
    images = [
        await _fetched(call, one, request.called("image") if len(request.inputs) == 1 else name)
        for one, name in zip(request.inputs, _places(request), strict=True)
    ]
    mask = await _fetched(call, request.mask, request.called("mask")) if request.mask else None
    return ImageRequest(
        prompt=request.prompt or "",
        seeds=request.seeds(random.getrandbits(32)),
        negative_prompt=request.negative_prompt,
        width=width,
        height=height,
        steps=request.steps,
        guidance=request.guidance,
        strength=request.strength,
        scheduler=request.scheduler,
        images=tuple(images),
        mask=mask,
        scale=request.scale,
        background=None if request.background == "auto" else request.background,
        output=Output(
            request.output_format,
            request.output_compression,
            None if as_url else call.inline_limit_bytes,
            None if call.output_limit_bytes is None else call.output_limit_bytes - _SHAPE_BYTES,
        ),
        given=request.given,
        strict=request.strict,
    )


def _places(request: ImagesRequest) -> list[str]:
    return [f"{request.called('image')}[{index}]" for index in range(len(request.inputs))]


async def _fetched(call: Call, reference: str, param: str) -> bytes:
    path = await call.door.fetch(reference, param, IMAGE_LIMIT_BYTES)
    return path.read_bytes()


async def _data(call: Call, picture: Picture, index: int, as_url: bool) -> ImageData:
    facts: ImageData = {"width": picture.width, "height": picture.height}
    if picture.seed is not None:
        facts["seed"] = picture.seed
    if as_url and call.bucket is not None:
        url = await call.bucket.store(
            f"{call.job_id}/{index if picture.seed is None else picture.seed}.{picture.format}",
            picture.content,
            f"image/{picture.format}",
        )
        return {"url": url, **facts}
    return {"b64_json": base64.b64encode(picture.content).decode("ascii"), **facts}


_MARKS = ("prompt", "image", *IMAGE_NAMES)

SURFACE = Surface(
    name="images",
    operations=(
        Operation(
            ImagesRequest, ("/v1/images/generations", "/v1/images/edits"), answer, marks=_MARKS
        ),
        Operation(ImagesRequest, ("/v1/images/upscale",), answer, task="img-upscale"),
        Operation(ImagesRequest, ("/v1/images/background",), answer, task="img-rmbg"),
    ),
    companions=frozenset({"documents"}),
    concurrency=2,
)

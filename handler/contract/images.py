"""Images: ``POST /v1/images/generations`` and, with an input image, edits."""

from __future__ import annotations

import base64
import random
import re
import time
from typing import Annotated, Any, ClassVar, Literal, NotRequired, Self, TypedDict

from pydantic import Field, field_validator, model_validator

from handler.contract.base import Call, NonEmpty, Operation, Request, Surface, Text, with_notice
from models.errors import InvalidValue, UnsupportedParameter
from models.images import ImageRequest, Picture

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
MIN_SIDE, MAX_SIDE = 64, 2048
_QUALITY = 90  # of jpeg and webp
IMAGE_LIMIT_BYTES = 32 * 1024 * 1024


class ImagesRequest(Request):
    """The body of an images request; ``width`` and ``height`` may stand for ``size``."""

    unsupported: ClassVar = {
        "background": ("auto",),
        "complexity": (),
        "frame_count": (1,),
        "frame_duration_ms": (),
        "markup": (),
        "svg": (False,),
        "mask": (),
        "moderation": ("auto",),
        "partial_images": (0,),
        "quality": ("auto", "standard"),
        "stream": (False,),
        "style": ("vivid",),
        "input_fidelity": ("low",),
    }
    aliases: ClassVar = {
        "num_inference_steps": "steps",
        "guidance_scale": "guidance",
        "image_url": "image",
    }

    prompt: NonEmpty | None = None
    negative_prompt: Text | None = None
    n: Annotated[int, Field(ge=1, le=8)] = 1
    size: str | None = None
    width: Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)] | None = None
    height: Annotated[int, Field(ge=MIN_SIDE, le=MAX_SIDE)] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] = "png"
    output_compression: Annotated[int, Field(ge=0, le=100)] | None = None
    steps: Annotated[int, Field(ge=1, le=100)] | None = None
    guidance: Annotated[float, Field(ge=0, le=30)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    image: NonEmpty | Annotated[list[NonEmpty], Field(min_length=1, max_length=1)] | None = None
    webhook_url: str | None = None

    @field_validator("size")
    @classmethod
    def _size_in_range(cls, size: str) -> str:
        match = _SIZE.fullmatch(size)
        sides = [int(side) for side in match.groups()] if match else []
        if size != "auto" and not (sides and all(MIN_SIDE <= s <= MAX_SIDE for s in sides)):
            raise ValueError(
                f'must be "auto" or "WIDTHxHEIGHT", both from {MIN_SIDE} to {MAX_SIDE}'
            )
        return size

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        if (self.width is None) != (self.height is None):
            missing = "height" if self.height is None else "width"
            raise InvalidValue("width and height go together; send both.", param=missing)
        if self.output_compression is not None and self.output_format == "png":
            raise UnsupportedParameter(
                "output_compression is for jpeg and webp; png is lossless.",
                param="output_compression",
            )
        if self.prompt is None and self.image is None:
            raise InvalidValue(
                "prompt is required, or an input image.",
                param="prompt",
                code="missing_required_parameter",
            )
        return self

    @property
    def sides(self) -> tuple[int | None, int | None]:
        """Width and height in pixels, ``(None, None)`` for the model's own choice."""
        if self.width is not None:
            return self.width, self.height
        match = _SIZE.fullmatch(self.size or "")
        return (int(match[1]), int(match[2])) if match else (None, None)


class ImageData(TypedDict):
    """One picture: a URL or base64, and (our extensions) its seed and true size in pixels."""

    url: NotRequired[str]
    b64_json: NotRequired[str]
    seed: int
    width: int
    height: int


class ImagesAnswer(TypedDict):
    """OpenAI's ImagesResponse; ``model`` and ``notice`` are our extensions."""

    created: int
    data: list[ImageData]
    output_format: str
    model: str
    notice: NotRequired[str]


async def answer(call: Call) -> dict[str, Any]:
    """Make the pictures of one request."""
    request: ImagesRequest = call.request
    if (call.route or "").endswith("/edits") and request.image is None:
        raise InvalidValue(
            "image is required: the picture to edit.",
            param="image",
            code="missing_required_parameter",
        )
    as_url = _as_url(call)
    engine_request = await _to_engine(call)
    async with call.lease() as model:
        pictures: list[Picture] = await model.run(engine_request)
    shaped: ImagesAnswer = {
        "created": int(time.time()),
        "data": [await _data(call, picture, as_url) for picture in pictures],
        "output_format": request.output_format,
        "model": call.row.slug,
    }
    return with_notice({**shaped}, call.row)


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


async def _to_engine(call: Call) -> ImageRequest:
    request: ImagesRequest = call.request
    width, height = request.sides
    image = None
    if request.image is not None:
        reference = request.image if isinstance(request.image, str) else request.image[0]
        path = await call.door.fetch(reference, "image", IMAGE_LIMIT_BYTES)
        image = path.read_bytes()
    return ImageRequest(
        prompt=request.prompt or "",
        seed=random.getrandbits(32) if request.seed is None else request.seed,
        negative_prompt=request.negative_prompt,
        n=request.n,
        width=width,
        height=height,
        steps=request.steps,
        guidance=request.guidance,
        image=image,
        format=request.output_format,
        compression=_QUALITY if request.output_compression is None else request.output_compression,
    )


async def _data(call: Call, picture: Picture, as_url: bool) -> ImageData:
    facts: ImageData = {"seed": picture.seed, "width": picture.width, "height": picture.height}
    if as_url and call.bucket is not None:
        url = await call.bucket.store(
            f"{call.job_id}/{picture.seed}.{picture.format}",
            picture.content,
            f"image/{picture.format}",
        )
        return {"url": url, **facts}
    return {"b64_json": base64.b64encode(picture.content).decode("ascii"), **facts}


SURFACE = Surface(
    name="images",
    operations=(
        Operation(
            ImagesRequest,
            ("/v1/images/generations", "/v1/images/edits"),
            answer,
            marks=("prompt", "image", "image_url"),
        ),
    ),
    companions=frozenset({"documents"}),
    concurrency=4,
)

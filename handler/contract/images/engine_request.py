"""From the body of an images request to what its engine is asked."""

from __future__ import annotations

import random
import sys

from handler.contract.base import Call
from handler.contract.images.request import ImagesRequest
from models.errors import InvalidValue, UnsupportedParameter
from models.images.request import Adapter, ImageRequest, Output, Video
from models.leniency import Leniency

IMAGE_LIMIT_BYTES = 32 * 1024 * 1024
_SHAPE_BYTES = 10_000  # of an answer, around its pictures
_PREVIEW_BYTES = 80_000  # of one, as base64


def as_url(call: Call) -> bool:
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


async def engine_request(call: Call, leniency: Leniency) -> ImageRequest:
    """Build the engine's request; fetch the client's pictures and adapters.

    Raises:
        InvalidValue: a picture is missing.
        UnsupportedParameter: an adapter that the operator does not allow.
        MediaError: a file cannot be had.
    """
    request: ImagesRequest = call.request
    makes_videos = "txt2video" in call.row.tasks
    _check_kind(call, makes_videos)
    for name, reason in request.unheeded_fields.items():
        leniency.leave_out(name, f"{name}: {reason}")
    width, height = _sides(call)
    images = [
        await _fetched(
            call, reference, request.called("image") if len(request.inputs) == 1 else name
        )
        for reference, name in zip(request.inputs, _places(request), strict=True)
    ]
    mask = await _fetched(call, request.mask, request.called("mask")) if request.mask else None
    seeds = request.seeds(random.getrandbits(32))
    previews = _previews(call, leniency)
    return ImageRequest(
        prompt=request.prompt or "",
        seeds=seeds,
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
        adapters=await _adapters(call),
        previews=previews,
        video=await _video(call) if makes_videos else None,
        output=_output(call, len(seeds), previews * len(seeds)),
        given=request.given,
        strict=request.strict,
    )


def _sides(call: Call) -> tuple[int | None, int | None]:
    """Width and height that are asked for, None where the model chooses."""
    request: ImagesRequest = call.request
    usual = call.default("size")
    if usual is None:
        return request.sides
    width, height = map(int, usual.split("x"))
    return request.sides_of(width * height)


def _check_kind(call: Call, makes_videos: bool) -> None:
    """Refuse edits of nothing, videos of a model of pictures, and the other way round."""
    request: ImagesRequest = call.request
    if (call.route or "").endswith("/edits") and not request.image:
        raise InvalidValue(
            "image is required: the picture to edit.",
            param="image",
            code="missing_required_parameter",
        )
    if not makes_videos and request.of_video:
        first, *others = request.of_video
        also = f" So {'is' if len(others) == 1 else 'are'} {', '.join(others)}." if others else ""
        raise UnsupportedParameter(
            f"{first} is of videos, and {call.row.slug} makes still pictures; leave it out, or ask "
            f"a model that makes videos.{also}",
            param=first,
        )
    if makes_videos and request.output_format not in (None, "mp4"):
        raise UnsupportedParameter(
            f"output_format: {call.row.slug} makes videos, which are mp4; got "
            f"{request.output_format}.",
            param="output_format",
        )


async def _video(call: Call) -> Video:
    request: ImagesRequest = call.request
    last = None
    if request.last_image is not None:
        last = await _fetched(call, request.last_image, request.called("last_image"))
    return Video(request.frames, request.seconds, request.fps, request.audio, last)


def _previews(call: Call, leniency: Leniency) -> int:
    """Return the number of previews of each picture."""
    wanted: int = call.request.partial_images or 0
    if not wanted:
        return 0
    if not call.request.stream:
        leniency.leave_out("partial_images", "partial_images are events of a stream")
        return 0
    if "txt2video" in call.row.tasks:
        leniency.leave_out("partial_images", "a video is shown when it is whole")
        return 0
    if "safety" in call.helpers:
        leniency.leave_out("partial_images", "pictures are checked here before they are shown")
        return 0
    return wanted


def _output(call: Call, pictures: int, previews: int) -> Output:
    """Return the form of the pictures; ``previews`` counts those of all pictures together."""
    request: ImagesRequest = call.request
    format_, compression = request.output_format, request.output_compression
    each = call.event_limit_bytes
    if as_url(call):
        carried = _copy_limit_bytes(call, pictures) if carries_copies(call) else None
        return Output(format_, compression, copy_limit_bytes=carried)
    around_bytes = _SHAPE_BYTES + previews * _PREVIEW_BYTES
    whole = call.output_limit_bytes
    return Output(
        format_,
        compression,
        inline_limit_bytes=call.inline_limit_bytes,
        limit_bytes=None if whole is None else whole - around_bytes,
        each_limit_bytes=each if request.stream else None,
    )


def carries_copies(call: Call) -> bool:
    """Whether an event has its picture as base64 beside the link to it.

    OpenAI's events have no links, and who reads them finds the picture in ``b64_json``. Who asks
    for links by name wants no more.
    """
    return bool(call.request.stream) and as_url(call) and call.request.response_format is None


def _copy_limit_bytes(call: Call, pictures: int) -> int:
    """Return the size limit of one copy; all copies together stay below the limit of an answer."""
    each, together = call.event_limit_bytes, call.inline_limit_bytes
    limits = (
        sys.maxsize if each is None else each - _SHAPE_BYTES,
        sys.maxsize if together is None else together // pictures,
    )
    return min(limits)


def _places(request: ImagesRequest) -> list[str]:
    return [f"{request.called('image')}[{index}]" for index in range(len(request.inputs))]


async def _fetched(call: Call, reference: str, param: str) -> bytes:
    path = await call.door.fetch(reference, param, IMAGE_LIMIT_BYTES)
    return path.read_bytes()


async def _adapters(call: Call) -> tuple[Adapter, ...]:
    found = []
    for index, lora in enumerate(call.request.loras or ()):
        param = f"loras[{index}].path"
        if call.loras is None:
            raise TypeError("this worker has no place for adapters")
        path = await call.loras.fetch(lora.path, param, call.door)
        found.append(Adapter(lora.path, path, lora.scale, param))
    return tuple(found)

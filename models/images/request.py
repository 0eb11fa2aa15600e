"""Requests to engines of images and videos, their events and their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.leniency import LeftOut


@dataclass(frozen=True)
class Output:
    """How pictures are delivered.

    Attributes:
        format: ``png``, ``jpeg`` or ``webp``; None = png, or a smaller format if png is too large.
        compression: quality of jpeg and webp, 0 to 100; None = the default.
        inline_limit_bytes: of all pictures in the answer, as base64; above it ``format`` None means
            webp. None = unlimited.
        limit_bytes: hard limit of all pictures, as base64: an answer beyond it would be lost.
            None = unlimited.
        each_limit_bytes: the same for each picture.
        copy_limit_bytes: of the copy that an event carries beside a link to a picture; None = no
            copies.
    """

    format: str | None = None
    compression: int | None = None
    inline_limit_bytes: int | None = None
    limit_bytes: int | None = None
    each_limit_bytes: int | None = None
    copy_limit_bytes: int | None = None


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter.

    Attributes:
        name: identifies the adapter in caches.
        path: of its safetensors file.
        scale: factor of its weights.
        param: the request's field that names it, for errors.
    """

    name: str
    path: Path
    scale: float = 1.0
    param: str = "loras"


@dataclass(frozen=True)
class Video:
    """What a request for a video has besides the fields of a picture.

    Attributes:
        frames, seconds: length, by one of the two; None = the model's default.
        fps: frames per second; None = the model's default.
        sound: whether the video has sound; None = the model's default.
        last: an encoded picture of the last frame; the input picture is the first frame.
    """

    frames: int | None = None
    seconds: float | None = None
    fps: float | None = None
    sound: bool | None = None
    last: bytes | None = None


@dataclass(frozen=True)
class ImageRequest:
    """One request for pictures, or for a video.

    Attributes:
        prompt: "" for models without prompts.
        seeds: one for each picture to be made.
        width, height: pixels; None = the model's default, or the input picture's own size.
        steps, guidance: None = the model's default.
        strength: how much the input picture changes, 0 to 1; None = the model's default.
        scheduler: by its name in ``Family.schedulers``; None = the model's own.
        images: encoded input pictures.
        mask: an encoded picture of what is to change, of the input picture's size.
        scale: factor for each side; None = the model's own.
        background: ``transparent`` or ``opaque``; None = the model's default.
        adapters: LoRA adapters for this request.
        previews: number of unfinished pictures to emit for each picture.
        video: of a request for a video; None for pictures.
        output: how the pictures are delivered.
        given: fields that the client sent, by their names in the API.
        strict: whether a field that would change nothing fails the request.
    """

    prompt: str
    seeds: tuple[int, ...] = (0,)
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    strength: float | None = None
    scheduler: str | None = None
    images: tuple[bytes, ...] = ()
    mask: bytes | None = None
    scale: float | None = None
    background: str | None = None
    adapters: tuple[Adapter, ...] = ()
    previews: int = 0
    video: Video | None = None
    output: Output = Output()
    given: frozenset[str] = frozenset()
    strict: bool = False


@dataclass(frozen=True)
class ScreenRequest:
    """Encoded pictures to be screened; the answer is a bool for each, True = withhold it."""

    pictures: tuple[bytes, ...]


@dataclass(frozen=True)
class Picture:
    """One encoded picture or video.

    Attributes:
        seed: None if the result does not depend on chance.
        frames, fps: of a video.
        stills: returns encoded frames of a video; slow, so call it in a thread.
        copy: returns the copy that an event carries beside a link, or None if it is too large;
            slow, so call it in a thread.
    """

    content: bytes
    format: str
    width: int
    height: int
    seed: int | None = None
    frames: int | None = None
    fps: float | None = None
    stills: Callable[[], Sequence[bytes]] | None = None
    copy: Callable[[], Picture | None] | None = None


@dataclass(frozen=True)
class Preview:
    """An event: a preview of an unfinished picture.

    Attributes:
        part: index among the request's pictures.
        order: 0 for the picture's first preview.
        encoded: returns it, of the picture's size and small in bytes; slow, so call it in a thread.
    """

    part: int
    order: int
    encoded: Callable[[], Picture]


@dataclass(frozen=True)
class Images:
    """The answer to one request.

    Attributes:
        pictures: in the order of the request's seeds.
        left_out: warnings about fields that were ignored or adapted.
        prompt_tokens: number that the text encoder read; 0 without a prompt.
        picture_tokens: number that all pictures have inside the model; 0 if it has none.
    """

    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...] = ()
    prompt_tokens: int = 0
    picture_tokens: int = 0

"""What is asked of an engine of pictures, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from models.surface import LeftOut


@dataclass(frozen=True)
class Output:
    """How pictures leave.

    Attributes:
        format: ``png``, ``jpeg`` or ``webp``; None = png, or what is smaller where png would be too
            large.
        compression: quality of jpeg and webp, 0 to 100; None = ours.
        inline_limit_bytes: how large pictures that travel in the answer may be as base64, together,
            before ``format`` None means webp; None = however large.
        limit_bytes: how large they may be at all, for they would be lost; None = however large.
        each_limit_bytes: how large one of them may be, likewise.
        copy_limit_bytes: how large the copy of one may be that an event carries beside a link to
            it; None = there are no copies.
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
        name: what it is known by; the same name is the same adapter.
        path: its safetensors file.
        scale: how strongly it counts.
        param: the field of the request that names it, for errors.
    """

    name: str
    path: Path
    scale: float = 1.0
    param: str = "loras"


@dataclass(frozen=True)
class Video:
    """What is asked of a video besides what is asked of a picture.

    Attributes:
        frames, seconds: how long it is; one of them, or None = the model's default.
        fps: frames a second; None = the model's default.
        sound: whether it has any; None = the model's default.
        last: an encoded picture of its last frame; that of its first is the input picture.
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
        prompt: "" for models that read none.
        seeds: of each picture; one picture a seed.
        width, height: pixels; None = the model's default, or the input picture's own size.
        steps, guidance: None = the model's default.
        strength: how much of the input picture is to change, 0 to 1; None = the model's default.
        scheduler: by its name here; None = the model's own.
        images: encoded input pictures.
        mask: an encoded picture of what is to change, as large as the input picture.
        scale: how many times larger the picture is to become; None = the model's own.
        background: ``transparent`` or ``opaque``; None = what the model makes.
        adapters: what changes the model for this request.
        previews: how many unfinished pictures are shown of each on the way.
        video: what is asked of a video; of who makes still pictures, None.
        output: how the pictures leave.
        given: the fields that the client sent, by their names in the API.
        strict: whether a field that the model has no use for fails the request.
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
    """Encoded pictures, to be looked at before they are shown; the answer is a bool for each."""

    pictures: tuple[bytes, ...]


@dataclass(frozen=True)
class Picture:
    """One encoded picture, or video; what owes nothing to chance has no seed.

    Attributes:
        frames, fps: of a video.
        stills: makes encoded pictures of it; worth a thread of its own.
        copy: makes the copy that an event carries beside a link, None where it would be too large;
            worth a thread of its own.
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
    """An event: a picture that is not finished.

    Attributes:
        part: which of the request's pictures.
        order: 0 is its first preview.
        encoded: makes it, small in bytes and of the picture's size; worth a thread of its own.
    """

    part: int
    order: int
    encoded: Callable[[], Picture]


@dataclass(frozen=True)
class Images:
    """The pictures of one request, in the order of their seeds, and what was asked in vain.

    Attributes:
        pictures: one a seed.
        left_out: the fields that the model has no use for, or that were made to fit.
        prompt_tokens: that its encoder read, 0 of a model that reads none.
        picture_tokens: that all pictures are made of inside the model, 0 where it has none.
    """

    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...] = ()
    prompt_tokens: int = 0
    picture_tokens: int = 0

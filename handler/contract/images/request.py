"""The body of an images request."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, field_validator, model_validator

from handler.contract.request import Integer, Items, NonEmpty, Part, Request, Text, Unsupported
from models.errors import InvalidValue, UnsupportedParameter

_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})")
MIN_SIDE, MAX_SIDE = 64, 2048
MAX_INPUTS = 4
MAX_LORAS = 4
IMAGE_NAMES = ("image_url", "image_urls", "images", "input_image", "init_image")
# Of videos, and what of each asks for nothing.
VIDEO_FIELDS = {"frames": (1,), "seconds": (), "fps": (), "audio": (False,), "last_image": ()}

Seed = Annotated[Integer, Field(ge=0, lt=2**32)]


class Lora(Part):
    """An adapter, and how strongly it counts."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    path: NonEmpty
    scale: Annotated[float, Field(ge=-10, le=10)] = 1.0


class ImagesRequest(Request):
    """The body of an images request; ``width`` and ``height`` may stand for ``size``."""

    unsupported: ClassVar = {
        "complexity": Unsupported(),
        "frame_count": Unsupported(1),
        "frame_duration_ms": Unsupported(),
        "markup": Unsupported(),
        "svg": Unsupported(False),
        "moderation": Unsupported("auto"),
        "quality": Unsupported("auto", "standard"),
        "style": Unsupported("vivid"),
        "input_fidelity": Unsupported("low"),
        "video": Unsupported(instead="send its first frame as image"),
    }
    aliases: ClassVar = {
        "num_inference_steps": "steps",
        "guidance_scale": "guidance",
        "cfg_scale": "guidance",
        "num_images": "n",
        "mask_image": "mask",
        "denoise": "strength",
        "sampler": "scheduler",
        "num_frames": "frames",
        "duration": "seconds",
        "first_frame_image": "image",
        "last_frame_image": "last_image",
        **dict.fromkeys(IMAGE_NAMES, "image"),
    }

    prompt: NonEmpty | None = None
    negative_prompt: Text | None = None
    n: Annotated[Integer, Field(ge=1, le=8)] = 1
    size: str | None = None
    width: Annotated[Integer, Field(ge=MIN_SIDE, le=MAX_SIDE)] | None = None
    height: Annotated[Integer, Field(ge=MIN_SIDE, le=MAX_SIDE)] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp", "mp4"] | None = None
    output_compression: Annotated[Integer, Field(ge=0, le=100)] | None = None
    steps: Annotated[Integer, Field(ge=1, le=100)] | None = None
    guidance: Annotated[float, Field(ge=0, le=30)] | None = None
    seed: Seed | Annotated[list[Seed], Items(8, least=1)] | None = None
    image: NonEmpty | Annotated[list[NonEmpty], Items(MAX_INPUTS)] | None = None
    mask: Text | None = None
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    scheduler: NonEmpty | None = None
    scale: Annotated[float, Field(ge=1, le=16)] | None = None
    background: Literal["auto", "transparent", "opaque"] | None = None
    loras: Annotated[list[Lora], Items(MAX_LORAS)] | None = None
    frames: Annotated[Integer, Field(ge=1, le=1000)] | None = None
    seconds: Annotated[float, Field(gt=0, le=60)] | None = None
    fps: Annotated[float, Field(ge=1, le=120)] | None = None
    audio: bool | None = None
    last_image: NonEmpty | None = None
    stream: bool = False
    partial_images: Annotated[Integer, Field(ge=0, le=3)] | None = None

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
        if self.frames is not None and self.seconds is not None:
            raise InvalidValue(
                "frames and seconds say one thing; send one of them.", param="seconds"
            )
        if self.output_compression is not None and self.output_format in (None, "png", "mp4"):
            raise UnsupportedParameter(
                "output_compression is for jpeg and webp, named as output_format; png is lossless.",
                param="output_compression",
            )
        if (
            isinstance(self.seed, list)
            and len(self.seed) != self.n
            and "n" in self.model_fields_set
        ):
            raise InvalidValue(
                f"seed: one for each of n = {self.n} pictures, or a single one; got "
                f"{len(self.seed)}.",
                param="seed",
            )
        if self.prompt is None and not self.image:
            raise InvalidValue(
                "prompt is required, or an input image.",
                param="prompt",
                code="missing_required_parameter",
            )
        return self

    @property
    def given(self) -> frozenset[str]:
        """The fields that ask for something."""
        sent = {name for name in self.model_fields_set if name != "n" or self.n > 1}
        return frozenset(sent - {"width", "height"} | {"size" for _ in self.sides if _ is not None})

    @property
    def of_video(self) -> list[str]:
        """The fields that ask for a video, as the client calls them."""
        asked = [
            name
            for name, nothing in VIDEO_FIELDS.items()
            if (value := getattr(self, name)) is not None and value not in nothing
        ]
        if self.called("image") == "first_frame_image":
            asked.append("image")
        return [self.called(name) for name in asked] + ["output_format"] * (
            self.output_format == "mp4"
        )

    @property
    def inputs(self) -> list[str]:
        """The input pictures."""
        return [self.image] if isinstance(self.image, str) else list(self.image or ())

    def seeds(self, otherwise: int) -> tuple[int, ...]:
        """The seed of each picture; of a single one, those that follow it."""
        if isinstance(self.seed, list):
            return tuple(self.seed)
        first = otherwise if self.seed is None else self.seed
        return tuple(first + index for index in range(self.n))

    @property
    def sides(self) -> tuple[int | None, int | None]:
        """Width and height in pixels, ``(None, None)`` for the model's own choice."""
        if self.width is not None:
            return self.width, self.height
        match = _SIZE.fullmatch(self.size or "")
        return (int(match[1]), int(match[2])) if match else (None, None)

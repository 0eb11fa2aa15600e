"""The body of an images request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from handler.contract.images.fields import (
    ALIASES,
    PICTURES,
    UNHEEDED,
    UNSUPPORTED,
    format_name,
    scheduler_name,
)
from handler.contract.images.references import unwrapped
from handler.contract.request import Integer, Items, NonEmpty, Part, Request, Text
from models.errors import InvalidValue, UnsupportedParameter

_SIZE = re.compile(r"\s*([1-9]\d{0,4})\s*[xX]\s*([1-9]\d{0,4})\s*")
_RATIO = re.compile(r"\s*([1-9]\d{0,4})\s*[:/xX]\s*([1-9]\d{0,4})\s*")
_ALIKE = 0.03  # ratios that differ by less are one: 1344x768 is 16:9
_GRID = 32  # of sides that a ratio gives: all models make them
MIN_SIDE, MAX_SIDE = 64, 2048
MAX_RATIO = 4
SEEDS = 2**32
MAX_INPUTS = 4
MAX_LORAS = 4
# Of videos, and what of each asks for nothing.
VIDEO_FIELDS = {"frames": (1,), "seconds": (), "fps": (), "audio": (False,), "last_image": ()}

Seed = Annotated[Integer, Field(ge=0, lt=SEEDS)]
Format = Annotated[Literal["png", "jpeg", "webp", "mp4"], BeforeValidator(format_name)]


class Lora(Part):
    """An adapter, and how strongly it counts."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)

    path: NonEmpty
    scale: Annotated[float, Field(ge=-10, le=10)] = 1.0


class ImagesRequest(Request):
    """The body of an images request; ``width`` and ``height`` may stand for ``size``."""

    unsupported: ClassVar = UNSUPPORTED
    unheeded: ClassVar = UNHEEDED
    aliases: ClassVar = ALIASES
    reads_prompts: ClassVar = True

    _unheeded: list[str] = PrivateAttr(default_factory=list)

    prompt: Text | None = None
    negative_prompt: Text | None = None
    n: Annotated[Integer, Field(ge=1, le=8)] = 1
    size: str | None = None
    aspect_ratio: str | None = None
    width: Annotated[Integer, Field(ge=MIN_SIDE, le=MAX_SIDE)] | None = None
    height: Annotated[Integer, Field(ge=MIN_SIDE, le=MAX_SIDE)] | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Format | None = None
    output_compression: Annotated[Integer, Field(ge=0, le=100)] | None = None
    steps: Annotated[Integer, Field(ge=1, le=100)] | None = None
    guidance: Annotated[float, Field(ge=0, le=30)] | None = None
    seed: Seed | Annotated[list[Seed], Items(8, least=1)] | None = None
    image: NonEmpty | Annotated[list[NonEmpty], Items(MAX_INPUTS)] | None = None
    mask: Text | None = None
    strength: Annotated[float, Field(gt=0, le=1)] | None = None
    scheduler: Annotated[NonEmpty, BeforeValidator(scheduler_name)] | None = None
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

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body; pictures may come as objects.

        Raises:
            UnsupportedParameter: also for a picture by its ``file_id``.
            InvalidValue: as ``Request`` says.
        """
        request = super().parse(unwrapped(body, PICTURES))
        asked = (name for name, field in UNHEEDED.items() if not field.takes(body.get(name)))
        request._unheeded.extend(asked)
        return request

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

    @field_validator("aspect_ratio")
    @classmethod
    def _ratio_in_range(cls, ratio: str) -> str:
        match = _RATIO.fullmatch(ratio)
        width, height = map(int, match.groups()) if match else (0, 1)
        if ratio != "auto" and not 1 / MAX_RATIO <= width / height <= MAX_RATIO:
            raise ValueError(
                f'must be "auto" or "WIDTH:HEIGHT", from 1:{MAX_RATIO} to {MAX_RATIO}:1'
            )
        return ratio

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        self._check_sides()
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
        if self.reads_prompts and not self.prompt and not self.image:
            raise InvalidValue(
                "prompt is required, or an input image.",
                param="prompt",
                code="missing_required_parameter" if self.prompt is None else "invalid_value",
            )
        return self

    def _check_sides(self) -> None:
        """Refuse sides that are said in two ways, each another.

        Raises:
            InvalidValue: they are, or one side is missing.
        """
        match = _SIZE.fullmatch(self.size or "")
        sides = {"width": self.width, "height": self.height}
        if match is not None:
            for name, side in zip(sides, map(int, match.groups()), strict=True):
                if sides[name] not in (None, side):
                    raise InvalidValue(
                        f"size and {name} say two things: {side} and {sides[name]} pixels; send "
                        "one of them.",
                        param=name,
                    )
        elif (self.width is None) != (self.height is None):
            missing = "height" if self.height is None else "width"
            raise InvalidValue("width and height go together; send both.", param=missing)
        if self.ratio is not None and None not in self.sides:
            width, height = self.sides
            if abs((width or 0) / (height or 1) / self.ratio - 1) > _ALIKE:
                raise InvalidValue(
                    f"aspect_ratio {self.aspect_ratio} is not that of {width}x{height}; send one "
                    "of them.",
                    param="aspect_ratio",
                )

    @property
    def given(self) -> frozenset[str]:
        """The fields that ask for something."""
        sent = {name for name in self.model_fields_set if name != "n" or self.n > 1}
        sent -= {"aspect_ratio"} if self.ratio is None else set()
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
        return tuple((first + index) % SEEDS for index in range(self.n))

    @property
    def ratio(self) -> float | None:
        """Width by height, None for the model's own choice."""
        match = _RATIO.fullmatch(self.aspect_ratio or "")
        return int(match[1]) / int(match[2]) if match else None

    def sides_of(self, area: int) -> tuple[int | None, int | None]:
        """Width and height: those that are asked for, or by the ratio of so many pixels."""
        if self.ratio is None or None not in self.sides:
            return self.sides
        exact = (area * self.ratio) ** 0.5, (area / self.ratio) ** 0.5
        width, height = (round(side / _GRID) * _GRID for side in exact)
        return min(max(width, MIN_SIDE), MAX_SIDE), min(max(height, MIN_SIDE), MAX_SIDE)

    @property
    def unheeded_fields(self) -> dict[str, str]:
        """The fields that change nothing here, and why."""
        return {name: UNHEEDED[name].reason for name in self._unheeded}

    @property
    def sides(self) -> tuple[int | None, int | None]:
        """Width and height in pixels, ``(None, None)`` for the model's own choice."""
        match = _SIZE.fullmatch(self.size or "")
        return (int(match[1]), int(match[2])) if match else (self.width, self.height)


class PictureRequest(ImagesRequest):
    """The body of a request that makes one picture of another, by no words."""

    reads_prompts: ClassVar = False

"""What is asked of an engine of pictures, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from models.surface import LeftOut


@dataclass(frozen=True)
class ImageRequest:
    """One request for pictures.

    Attributes:
        width, height: pixels; None = the model's default, or the input picture's own size.
        steps, guidance: None = the model's default.
        seed: picture ``i`` of ``n`` is made with ``seed + i``.
        image: an encoded input picture for models that edit, else None.
        format: ``png``, ``jpeg`` or ``webp``.
        compression: quality of jpeg and webp, 0 to 100.
        strict: whether a field that the model has no use for fails the request.
    """

    prompt: str
    seed: int
    negative_prompt: str | None = None
    n: int = 1
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance: float | None = None
    image: bytes | None = None
    format: str = "png"
    compression: int = 90
    strict: bool = False


@dataclass(frozen=True)
class Picture:
    """One encoded picture."""

    content: bytes
    format: str
    width: int
    height: int
    seed: int


@dataclass(frozen=True)
class Images:
    """The pictures of one request, in the order of their seeds, and what was asked in vain."""

    pictures: tuple[Picture, ...]
    left_out: tuple[LeftOut, ...] = ()

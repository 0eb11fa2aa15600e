"""The contract: one module per surface, and the registry of them.

A new surface is its engine in ``models``, its module here, and its line in ``MARKS``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from handler.contract.base import Call, Operation, Surface
from handler.contract.request import Request

# By surface: the fields whose presence says that a body is for it, as its operations list them.
# They stand here so that a worker of one surface knows the others' marks without their modules.
MARKS: Mapping[str, tuple[str, ...]] = {
    "chat": ("messages",),
    "images": (
        "prompt", "image", "image_url", "image_urls", "images", "input_image", "init_image",
        "init_images",
    ),
    "transcribe": ("audioUrl", "audio_url", "video_url", "audio", "audio_base64"),
    "speech": ("voice", "ref_audio", "instruct"),
    "music": ("caption",),
    "embeddings": ("input", "inputs", "texts", "sentences", "documents"),
}  # fmt: skip


class Registry(Mapping[str, Surface]):
    """The surfaces by name; a surface's module is imported when the surface is asked for.

    Args:
        names: of the modules of this folder, each with a ``SURFACE``.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> Surface:
        """Return a surface; KeyError where there is none of that name."""
        if name not in self._names:
            raise KeyError(name)
        surface: Surface = import_module(f"{__name__}.{name}").SURFACE
        return surface

    def __contains__(self, name: object) -> bool:
        """Whether there is a surface of that name; imports nothing."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Yield the names; imports nothing."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many surfaces there are."""
        return len(self._names)


SURFACES = Registry(tuple(MARKS))

__all__ = ["MARKS", "SURFACES", "Call", "Operation", "Registry", "Request", "Surface"]

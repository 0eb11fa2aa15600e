"""Bodies that are for a task which this endpoint does not do, by fields that no other task has.

A gateway's direct route sends whatever it gets to the endpoint of its path, and unknown keys are
left aside: without this, a request for speech gets a picture of its text.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handler.contract.unsupported import is_left_out

_PICTURES = frozenset({"image", "image_url", "images", "input_image"})
_SPOKEN = frozenset({"input", "text"})  # what is to be spoken is a text; others nest objects there
_RECORDINGS = frozenset({"audio", "audioUrl", "audio_base64", "audio_url", "video_url"})
_TEXTS = frozenset({"messages", "prompt"})
_PICTURE_FORMATS = frozenset({"png", "jpg", "jpeg", "webp"})


@dataclass(frozen=True)
class Lookalike:
    """A task, and how its bodies are known.

    Attributes:
        surface: the surface that does it; None = none does yet.
        called: what a request for it is called in an error.
        fields: has one of the fields of each group.
        without: has none of these.
        task: what a model of the surface must do for it; None = any does.
    """

    surface: str | None
    called: str
    fields: tuple[frozenset[str], ...]
    without: frozenset[str] = frozenset()
    task: str | None = None

    def found_in(self, body: Mapping[str, Any]) -> list[str]:
        """The fields by which a body is known as one for this task; none where it is not."""
        given = {
            name
            for name, value in body.items()
            if not is_left_out(value) and (name not in _SPOKEN or isinstance(value, str))
        }
        if given & self.without or not all(given & group for group in self.fields):
            return []
        return [min(given & group) for group in self.fields]


_READING = Lookalike(
    "chat",
    "the text in a picture",
    (_PICTURES, frozenset({"format", "language"})),
    _TEXTS,
    "img2txt",
)
_ALL = (
    Lookalike(
        "speech",
        "speech",
        (frozenset({"voice", "ref_audio", "instruct", "instructions"}), frozenset({"text"})),
        _TEXTS,
    ),
    Lookalike("speech", "speech", (frozenset({"input"}), frozenset({"voice"})), _TEXTS),
    Lookalike("music", "music", (frozenset({"caption"}), frozenset({"lyrics"}))),
    _READING,
    Lookalike(
        "embeddings",
        "embeddings",
        (frozenset({"input"}), frozenset({"dimensions", "encoding_format", "input_type"})),
        _TEXTS | {"voice"},
    ),
    Lookalike(
        "chat",
        "a text",
        (frozenset({"prompt"}), frozenset({"max_new_tokens", "max_tokens", "temperature"})),
        _RECORDINGS | {"input"},
    ),
    Lookalike(
        "images",
        "pictures",
        (
            frozenset({"prompt"}),
            frozenset({"frames", "height", "num_inference_steps", "size", "steps", "width"}),
        ),
        frozenset({"messages", "caption", "lyrics"}),
    ),
)


def asks_to_read(body: Mapping[str, Any]) -> bool:
    """Whether a body asks for the text in a picture, by fields that no other task has."""
    return bool(_READING.found_in(_without_picture_format(body)))


def has_picture(body: Mapping[str, Any]) -> bool:
    """Whether a body brings a picture."""
    return any(not is_left_out(body.get(name)) for name in _PICTURES)


def _without_picture_format(body: Mapping[str, Any]) -> Mapping[str, Any]:
    if str(body.get("format", "")).lower() in _PICTURE_FORMATS:
        return {name: value for name, value in body.items() if name != "format"}
    return body


def lookalike(
    body: Mapping[str, Any], served: Iterable[str], tasks: Collection[str]
) -> tuple[str, Sequence[str]] | None:
    """The task that a body is for and no served surface does, and the fields that say so.

    Args:
        body: the client's.
        served: the surfaces.
        tasks: that their models do.
    """
    body, served = _without_picture_format(body), set(served)
    for task in _ALL:
        does = task.surface in served and (task.task is None or task.task in tasks)
        if not does and (fields := task.found_in(body)):
            return task.called, fields
    return None

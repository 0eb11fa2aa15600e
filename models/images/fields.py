"""Tables of request fields: what a model refuses or ignores, said once per engine.

Each engine's room has a ``fields`` file with its tables. What ``/v1/models/<slug>`` tells
(``models.engine.Differences``) and what the engine enforces follow from the same table.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.engine import Differences
from models.errors import UnsupportedParameter
from models.images.request import ImageRequest
from models.leniency import Leniency
from models.row import Row

VIDEO_FIELDS = ("frames", "seconds", "fps", "audio", "last_image")
SINGLE_IMAGE: Differences = {"image": {"type": "string"}}  # at most one input picture
STILL_FORMATS: Differences = {"output_format": {"enum": ["png", "jpeg", "webp"]}}
_ATTRIBUTES = {"loras": "adapters"}  # fields whose attribute of ``ImageRequest`` has another name


@dataclass(frozen=True)
class Refusal:
    """Why a model refuses a field.

    Attributes:
        reason: the end of a sentence that begins with the model's slug, without a full stop.
        neutral: values that ask for nothing and pass.
    """

    reason: str
    neutral: tuple[Any, ...] = (None,)


def refuse(request: ImageRequest, row: Row, refusals: Mapping[str, Refusal]) -> None:
    """Refuse the first field of a table that asks for something.

    Raises:
        UnsupportedParameter: there is such a field.
    """
    for name, refusal in refusals.items():
        if _value(request, name) not in refusal.neutral:
            raise UnsupportedParameter(
                f"{name} is not supported: {row.slug} {refusal.reason}.", param=name
            )


def ignore(
    request: ImageRequest,
    ignored: Iterable[str],
    neutral: Mapping[str, tuple[Any, ...]],
    reason: str,
    leniency: Leniency,
) -> None:
    """Leave out the fields that a client sent and a model ignores.

    Args:
        request: with the names of the fields that were sent.
        ignored: the fields that the model ignores.
        neutral: for some of these, values that ask for nothing.
        reason: a sentence without its full stop; the field's name follows it.
        leniency: collects the warnings.

    Raises:
        UnsupportedParameter: there is such a field, and the request is strict.
    """
    for name in ignored:
        asks = name not in neutral or _value(request, name) not in neutral[name]
        if name in request.given and asks:
            leniency.leave_out(name, f"{reason} {name}")


def without(*groups: Iterable[str]) -> Differences:
    """Return the differences of a model that honours none of these fields."""
    return {name: None for group in groups for name in group}


def _value(request: ImageRequest, name: str) -> Any:
    return getattr(request, _ATTRIBUTES.get(name, name))

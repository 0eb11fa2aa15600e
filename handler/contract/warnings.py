"""An answer's ``warnings``: the fields that the model left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.leniency import LeftOut


def with_warnings(answer: dict[str, Any], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    """Add the extension ``warnings``: the fields that the model has no use for."""
    told = [{"param": field.param, "message": field.message} for field in left_out]
    return {**answer, "warnings": told} if told else answer

"""An answer without its ids and times, and the comparison of two answers."""

from __future__ import annotations

import math
from typing import Any

_VOLATILE = frozenset(
    {"id", "created", "created_at", "completed_at", "system_fingerprint", "prompt_tokens_details"}
)
_TOLERANCE = 2e-3  # a text in a larger run may differ in the last digits


def normal(output: Any) -> Any:
    """Return an answer without what differs from run to run."""
    if isinstance(output, dict):
        return {name: normal(value) for name, value in output.items() if name not in _VOLATILE}
    if isinstance(output, list):
        return [normal(value) for value in output]
    return output


def same(left: Any, right: Any) -> bool:
    """Whether two answers agree; numbers may differ by rounding."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) or isinstance(right, float):
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        return numbers and math.isclose(left, right, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(left == right)


def text_of(output: Any) -> str | None:
    """Return the text of a chat's answer, None of another."""
    try:
        return str(output["choices"][0]["message"]["content"])
    except (KeyError, IndexError, TypeError):
        return None

"""Fields that are known and not supported: refused by name, unless their value asks for nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable


class Unsupported:
    """A known field that cannot be honoured; null and what is empty ask for nothing.

    Args:
        neutral: values that change nothing, and so are taken.
        instead: what to do in its place, as the end of a sentence.
    """

    def __init__(self, *neutral: object, instead: str | None = None) -> None:
        self.neutral = neutral
        hint = f"leave it out or send {json.dumps(neutral[0])}" if neutral else "leave it out"
        self.instead = instead or hint

    def takes(self, value: object) -> bool:
        """Whether a value changes nothing; 0 and 1 are False and True, and True is no number."""
        return is_left_out(value) or any(
            value == neutral and (isinstance(neutral, bool) or not isinstance(value, bool))
            for neutral in self.neutral
        )


def alike(names: Iterable[str], instead: str, *neutral: object) -> dict[str, Unsupported]:
    """Several fields that cannot be honoured for one reason."""
    return dict.fromkeys(names, Unsupported(*neutral, instead=instead))


def is_left_out(value: object) -> bool:
    """Whether a value asks for nothing: null, ``""``, ``[]``, ``{}``."""
    return value is None or value in ("", [], {})

"""The pauses between tries: exponential backoff with jitter."""

from __future__ import annotations

import random
from collections.abc import Mapping

FIRST_S, _LONGEST_S = 0.25, 10.0
_MOST_ASKED_FOR_S = 60.0


class Pauses:
    """Pauses that grow with every failure in a row, a little apart from those of others.

    Args:
        longest_s: where they end to grow, about.
        first_s: the first, about.
    """

    def __init__(self, longest_s: float = _LONGEST_S, first_s: float = FIRST_S) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = 0.0

    @property
    def growing(self) -> bool:
        """Whether the last try failed."""
        return self._next_s > 0

    def grow(self) -> float:
        """Another failure: seconds to wait."""
        self._next_s = min(max(self._first_s, 2 * self._next_s), self._longest_s)
        return self._next_s * random.uniform(0.8, 1.2)

    def end(self) -> None:
        """Begin anew after a success."""
        self._next_s = 0.0


def asked_for_s(headers: Mapping[str, str]) -> float | None:
    """The seconds of a ``Retry-After`` (RFC 9110, section 10.2.3), None without one in seconds."""
    given = headers.get("Retry-After", "")
    return min(float(given), _MOST_ASKED_FOR_S) if given.isascii() and given.isdigit() else None

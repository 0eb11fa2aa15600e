"""Counts that several threads add to."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock


class Counts:
    """Numbers that only grow.

    Args:
        prefix: of their names in ``values``.
        names: of the numbers.
    """

    def __init__(self, prefix: str, *names: str) -> None:
        self._prefix = prefix
        self._numbers = dict.fromkeys(names, 0.0)
        self._lock = Lock()

    def add(self, **amounts: float) -> None:
        """Add to the numbers, by their names; from any thread."""
        with self._lock:
            for name, amount in amounts.items():
                self._numbers[name] += amount

    @property
    def values(self) -> Mapping[str, float]:
        """The numbers so far."""
        return {f"{self._prefix}_{name}": number for name, number in self._numbers.items()}

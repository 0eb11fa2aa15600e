"""JSON values: their types, and equality."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

KINDS = ("null", "boolean", "number", "string", "array", "object")


def kind_of(value: Any) -> str:
    """Return the JSON type of a value; an integer is a number."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


@dataclass(frozen=True)
class Value:
    """A value of an ``enum``, with JSON's equality: 1 equals 1.0, and not true."""

    key: Hashable
    raw: Any = field(compare=False)

    @classmethod
    def of(cls, raw: Any) -> Value:
        """Return a value with JSON's equality."""
        return cls(_key(raw), raw)


def _key(raw: Any) -> Hashable:
    kind = kind_of(raw)
    if kind == "number":
        return kind, exact(raw)
    if kind == "array":
        return kind, tuple(map(_key, raw))
    if kind == "object":
        return kind, frozenset((name, _key(value)) for name, value in raw.items())
    return kind, raw


def exact(number: float) -> Fraction:
    """Return a number's exact decimal value: 0.1 is a tenth."""
    return Fraction(repr(number)) if isinstance(number, float) else Fraction(number)


def grouped(values: Iterable[Value]) -> dict[str, tuple[Value, ...]]:
    """Return values by type."""
    made: dict[str, list[Value]] = {}
    for value in values:
        made.setdefault(kind_of(value.raw), []).append(value)
    return {kind: tuple(dict.fromkeys(own)) for kind, own in made.items()}

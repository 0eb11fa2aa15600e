"""The largest schema that is accepted, and a walk through its subschemas.

The keywords are those of the vocabularies of JSON Schema 2020-12 (json-schema.org), and
``definitions`` of earlier drafts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_DATA = frozenset({"const", "enum", "default", "examples", "required", "dependentRequired"})

Path = tuple[str, ...]

MAX_NAMES = 2000  # properties and definitions in total
MAX_PATTERNS = 16  # per object: llguidance's work grows with the fourth power of their number
MAX_DEPTH = 100  # steps of a path, two per level
MAX_ITEMS = 10_000  # each item becomes a grammar rule
_MAX_NUMBER = 2**63 - 1
# Bounds of numbers are not listed: a bound beyond 64 bits is moved.
_NUMBERS = frozenset({
    "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "const",
    "enum", "multipleOf",
})  # fmt: skip


class Refused(Exception):
    """Answers cannot be restricted to a schema; the message says where and why."""


def parts(schema: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every subschema with its path, the innermost first, and the schema itself last."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from parts(item, (*path, str(index)))
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in _NAMES and isinstance(value, dict):
            for name, item in value.items():
                yield from parts(item, (*path, key, name))
        elif key not in _DATA:
            yield from parts(value, (*path, key))
    yield path, schema


def excess(schema: Any) -> str | None:
    """Return a message about what exceeds the limits; None if nothing does."""
    names = 0
    for path, part in parts(schema):
        if len(path) > MAX_DEPTH:
            return f"{pointer(path[:4])}/… is nested more than {MAX_DEPTH} deep"
        for key, value in part.items():
            if (number := _beyond(key, value)) is not None:
                return f"{pointer((*path, key))} is {number:g}, more than can be kept"
            if key in _NAMES and isinstance(value, dict):
                names += len(value)
                if key == "patternProperties" and len(value) > MAX_PATTERNS:
                    where = pointer((*path, key))
                    return f"{where} has {len(value)} patterns; at most {MAX_PATTERNS}"
        if names > MAX_NAMES:
            return f"it has more than {MAX_NAMES} properties and definitions"
    return None


def _beyond(key: str, value: Any) -> int | float | None:
    """Return a number of a keyword that exceeds the limit, None if there is none."""
    if key not in _NUMBERS:
        return None
    most = MAX_ITEMS if key in ("minItems", "maxItems") else _MAX_NUMBER
    for number in value if key == "enum" and isinstance(value, list) else [value]:
        if isinstance(number, int | float) and abs(number) > most:
            return number
    return None


def pointer(path: Path) -> str:
    """Return a path as a JSON Pointer in a URI fragment (RFC 6901, without percent encoding)."""
    return "/".join(("#", *(step.replace("~", "~0").replace("/", "~1") for step in path)))

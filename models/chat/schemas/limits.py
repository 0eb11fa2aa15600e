"""How large a client's schema may be, and a walk through its parts.

Keywords are those of the vocabularies of JSON Schema 2020-12 (json-schema.org), and ``definitions``
of the drafts before.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_DATA = frozenset({"const", "enum", "default", "examples", "required", "dependentRequired"})

Path = tuple[str, ...]

MAX_NAMES = 2000  # properties and definitions in all
MAX_PATTERNS = 16  # of one object: llguidance takes their number to the fourth power
MAX_DEPTH = 100  # steps of a path: two a level
MAX_ITEMS = 10_000  # each is a rule of its own
_MAX_NUMBER = 2**63 - 1
# Bounds of a number are not among them: one beyond 64 bits is moved in.
_NUMBERS = frozenset({
    "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "const",
    "enum", "multipleOf",
})  # fmt: skip


class Refused(Exception):
    """No answer can be held to a schema; the message says where and why."""


def parts(schema: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield every schema within a schema with its path, the innermost first, and itself last."""
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
    """Return what of a schema is beyond the limits, in words; None where nothing is."""
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
    """Return a keyword's number where it is more than can be kept."""
    if key not in _NUMBERS:
        return None
    most = MAX_ITEMS if key in ("minItems", "maxItems") else _MAX_NUMBER
    for number in value if key == "enum" and isinstance(value, list) else [value]:
        if isinstance(number, int | float) and abs(number) > most:
            return number
    return None


def pointer(path: Path) -> str:
    """Return a path as a JSON Pointer in a URI's fragment (RFC 6901, without percent signs)."""
    return "/".join(("#", *(step.replace("~", "~0").replace("/", "~1") for step in path)))

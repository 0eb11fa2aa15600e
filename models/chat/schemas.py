"""JSON Schemas, walked through: which of their keys are keywords, and which are a client's names.

After the vocabularies of JSON Schema 2020-12 (json-schema.org), and ``definitions`` of the drafts
before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

_NAMES = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_DATA = frozenset({"const", "enum", "default", "examples", "required", "dependentRequired"})
_ROOTS = ("$defs", "definitions")  # what a part may refer to

Path = tuple[str, ...]


def parts(schema: Any, path: Path = ()) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Every schema within one, and itself last: the innermost come first, each with its path."""
    if isinstance(schema, list):
        for index, one in enumerate(schema):
            yield from parts(one, (*path, str(index)))
    if not isinstance(schema, dict):
        return
    for key, value in schema.items():
        if key in _NAMES and isinstance(value, dict):
            for name, one in value.items():
                yield from parts(one, (*path, key, name))
        elif key not in _DATA:
            yield from parts(value, (*path, key))
    yield path, schema


def excess(schema: Any) -> str | None:
    """Return what of a schema is more than can be kept, in words; None where nothing is."""
    names = 0
    for path, part in parts(schema):
        if len(path) > MOST_DEPTH:
            return f"{pointer(path[:4])}/… is nested more than {MOST_DEPTH} deep"
        for key, value in part.items():
            if (number := _beyond(key, value)) is not None:
                return f"{pointer((*path, key))} is {number:g}, more than can be kept"
            if key in _NAMES and isinstance(value, dict):
                names += len(value)
                if key == "patternProperties" and len(value) > MOST_PATTERNS:
                    where = pointer((*path, key))
                    return f"{where} has {len(value)} patterns; at most {MOST_PATTERNS}"
        if names > MOST_NAMES:
            return f"it has more than {MOST_NAMES} properties and definitions"
    return None


def _beyond(key: str, value: Any) -> int | float | None:
    """Return a keyword's number where it is more than can be kept."""
    if key not in _NUMBERS:
        return None
    most = MOST_ITEMS if key in ("minItems", "maxItems") else _MOST_NUMBER
    for number in value if key == "enum" and isinstance(value, list) else [value]:
        if isinstance(number, int | float) and abs(number) > most:
            return number
    return None


MOST_NAMES = 2000  # of properties and definitions in all
MOST_PATTERNS = 16  # of one object: compiling them takes their number to the fourth power
MOST_DEPTH = 100  # steps of a path: two a level
MOST_ITEMS = 10_000  # each is a rule of its own
_MOST_NUMBER = 2**63 - 1
_NUMBERS = frozenset({
    "minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties", "const",
    "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf",
})  # fmt: skip


def pointer(path: Path) -> str:
    """A path as a JSON Pointer in a URI's fragment (RFC 6901, without its percent signs)."""
    return "/".join(("#", *(one.replace("~", "~0").replace("/", "~1") for one in path)))


def by_itself(schema: dict[str, Any], part: dict[str, Any]) -> str:
    """A part of a schema, with what it may refer to, as text."""
    return json.dumps({**{key: schema[key] for key in _ROOTS if key in schema}, **part})


def closed(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a function's arguments, without arguments that it does not name.

    JSON Schema allows them unless it says otherwise; the functions behind it seldom do. What is put
    together of several schemas stays as it is.
    """
    for path, part in parts(schema):
        if "properties" in part and not (_OPEN & part.keys() or _TOGETHER & set(path)):
            part["additionalProperties"] = False
    return schema


_TOGETHER = frozenset({"allOf", "not", "if", "then", "else", "dependentSchemas"})
_OPEN = _TOGETHER | {
    "additionalProperties", "unevaluatedProperties", "patternProperties", "anyOf", "oneOf", "$ref",
}  # fmt: skip


def kept(text: str) -> str:
    """A schema without keywords that ask for nothing."""
    schema = json.loads(text)
    for _, part in parts(schema):
        if part.get("uniqueItems") is False:
            del part["uniqueItems"]
    return json.dumps(schema)

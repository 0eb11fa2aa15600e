"""Schemas as zod 4 (``z.toJSONSchema``) and zod-to-json-schema write them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.support.client_schemas import Sample

NEW = "https://json-schema.org/draft/2020-12/schema"
OLD = "http://json-schema.org/draft-07/schema#"
SAFE = 2**53 - 1

EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
UUID = (
    r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
    r"|00000000-0000-0000-0000-000000000000|ffffffff-ffff-ffff-ffff-ffffffffffff)$"
)
DATE = (
    r"^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29"
    r"|\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    r"|(?:02)-(?:0[1-9]|1\d|2[0-8])))$"
)
DURATION = (
    r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$"
)

LEAVES: list[dict[str, Any]] = [
    {"type": "string"},
    {"type": "string", "minLength": 1, "maxLength": 12},
    {"type": "string", "format": "email", "pattern": EMAIL},
    {"type": "string", "format": "uuid", "pattern": UUID},
    {"type": "string", "format": "date", "pattern": DATE},
    {"type": "string", "format": "duration", "pattern": DURATION},
    {"type": "string", "format": "uri"},
    {"type": "string", "format": "cuid2", "pattern": "^[0-9a-z]+$"},
    {"type": "string", "format": "jwt"},
    {"type": "string", "contentEncoding": "base64", "format": "base64",
     "pattern": r"^$|^(?:[0-9a-zA-Z+/]{4})*(?:(?:[0-9a-zA-Z+/]{2}==)|(?:[0-9a-zA-Z+/]{3}=))?$"},
    {"type": "string", "pattern": "^abc.*"},
    {"type": "string", "allOf": [{"pattern": "^a.*"}, {"pattern": ".*z$"}]},
    {"type": "integer", "minimum": -SAFE, "maximum": SAFE},
    {"type": "integer", "exclusiveMinimum": 0, "maximum": SAFE},
    {"type": "number"},
    {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
    {"type": "boolean"},
    {"type": "null"},
    {},
    {"type": "string", "enum": ["a", "b"]},
    {"type": "number", "enum": [0, 1]},
    {"type": "string", "const": "x"},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
    {"anyOf": [{"type": "string"}, {"type": "number"}, {"type": "boolean"}]},
    {"default": 3, "type": "integer", "minimum": -SAFE, "maximum": SAFE},
]  # fmt: skip


def _object(
    properties: dict[str, Any], optional: tuple[str, ...] = (), **more: Any
) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def _record(value: dict[str, Any], **names: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "propertyNames": {"type": "string", **names},
        "additionalProperties": value,
    }


CIRCLE = _object({"kind": {"type": "string", "const": "circle"}, "r": {"type": "number"}})
SQUARE = _object({"kind": {"type": "string", "const": "square"}, "side": {"type": "number"}})
A, B = _object({"a": {"type": "string"}}), _object({"b": {"type": "number"}})
HAND: list[tuple[dict[str, Any], Any, Any]] = [
    (_record({"type": "number"}), {"any": 1}, {"any": "x"}),
    (_record({"type": "number"}, enum=["a", "b"], ) | {"required": ["a", "b"]}, {"a": 1, "b": 2}, {"c": 1}),
    (_record({}, minLength=1), {"x": None}, {"": 1}),
    (_record({}, pattern="^[a-z]+$"), {"x": None}, {"X": 1}),
    ({"allOf": [A, B]}, {"a": "x", "b": 1}, {"a": "x"}),
    ({"allOf": [{**A, "additionalProperties": False}, A]}, {"a": "x"}, {"a": 1}),
    ({"oneOf": [CIRCLE, SQUARE]}, {"kind": "square", "side": 2}, {"kind": "circle", "side": 2}),
    ({"anyOf": [CIRCLE, SQUARE]}, {"kind": "circle", "r": 2}, {"kind": "cone"}),
    (_object({"shape": {"oneOf": [CIRCLE, SQUARE]}}), {"shape": {"kind": "circle", "r": 1}}, {"shape": {}}),
    ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]}, ["a", 1], ["a", "b"]),
    ({"type": "array", "prefixItems": [{"type": "string"}], "items": {"type": "number"}}, ["a", 1], ["a", "b"]),
    (_object({"value": {"type": "string"}, "next": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}),
     {"value": "x", "next": {"value": "y", "next": None}}, {"value": "x"}),
    ({"$ref": "#/$defs/tree", "$defs": {"tree": _object(
        {"n": {"type": "number"}, "sub": {"type": "array", "items": {"$ref": "#/$defs/tree"}}})}},
     {"n": 1, "sub": [{"n": 2, "sub": []}]}, {"n": 1, "sub": [{}]}),
    (_object({"a": {"type": "string"}, "never": {"not": {}}}, ("never",)), {"a": "x"}, {"a": "x", "never": 1}),
    (_object({"first": A, "second": {"$ref": "#/properties/first"}}, additionalProperties=False),
     {"first": {"a": "x"}, "second": {"a": "y"}}, {"first": {"a": "x"}, "second": {"a": 1}}),
    ({"$ref": "#/definitions/Root", "definitions": {"Root": A}}, {"a": "x"}, {"a": 1}),
    ({"$ref": "#/definitions/T", "definitions": {"T": _object(
        {"l": {"type": "array", "items": {"$ref": "#/definitions/T/properties/n"}}, "n": {"type": "number"}})}},
     {"l": [1, 2], "n": 3}, {"l": ["x"], "n": 3}),
    ({"type": "array", "items": [{"type": "string"}, {"type": "number"}], "minItems": 2, "maxItems": 2},
     ["a", 1], ["a"]),
    ({"type": ["string", "null"]}, None, 1),
    ({"type": ["string", "number"], "maxLength": 3}, 1234, "1234"),
]  # fmt: skip


def schemas() -> Iterator[Sample]:
    """Yield schemas by hand, and objects of random fields."""
    for at, (schema, good, bad) in enumerate(HAND):
        dialect = OLD if "definitions" in schema or isinstance(schema.get("items"), list) else NEW
        yield Sample(f"zod-{at}", {"$schema": dialect, **schema}, (good,), (bad,))
    chance = random.Random(4)
    for at in range(90):
        yield Sample(f"zod-random-{at}", {"$schema": NEW, **_random(chance, 3)})


def _random(chance: random.Random, depth: int) -> dict[str, Any]:
    kind = chance.choice(["object", "object", "array", "record", "union", "tuple", "and", "leaf"])
    if depth == 0 or (kind == "leaf" and depth < 3):
        return chance.choice(LEAVES)
    if kind == "array":
        bounds = chance.choice([{}, {"minItems": 1}, {"maxItems": 3}])
        return {"type": "array", "items": _random(chance, depth - 1), **bounds}
    if kind == "record":
        return _record(_random(chance, depth - 1))
    if kind == "union":
        kinds = [_tagged(chance, name, depth - 1) for name in ("one", "two", "three")]
        return {chance.choice(["anyOf", "oneOf"]): kinds}
    if kind == "tuple":
        return {"type": "array", "prefixItems": [_random(chance, depth - 1) for _ in range(2)]}
    if kind == "and":
        return {"allOf": [_fields(chance, names, depth - 1) for names in (["a", "b"], ["c"])]}
    return _fields(chance, chance.sample(["id", "name", "ok?", "$ref", "enum", "ü"], 3), depth - 1)


def _fields(chance: random.Random, names: list[str], depth: int) -> dict[str, Any]:
    properties = {name: _random(chance, depth) for name in names}
    optional = tuple(name for name in names if chance.random() < 0.3)
    closed = {"additionalProperties": False} if chance.random() < 0.3 else {}
    return _object(properties, optional, **(closed if len(names) == 3 else {}))


def _tagged(chance: random.Random, tag: str, depth: int) -> dict[str, Any]:
    return _object({"type": {"type": "string", "const": tag}, "value": _random(chance, depth)})

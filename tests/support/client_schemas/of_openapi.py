"""Schemas of OpenAPI documents: compositions, discriminators, formats and old dialects."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.support.client_schemas import Sample

PET: dict[str, Any] = {
    "type": "object",
    "properties": {"petType": {"type": "string"}},
    "required": ["petType"],
    "discriminator": {"propertyName": "petType"},
}
MEOW = {
    "type": "object",
    "properties": {"meowVolume": {"type": "integer"}},
    "required": ["meowVolume"],
}
BARK = {"type": "object", "properties": {"bark": {"type": "string", "enum": ["low", "loud"]}}}


def _tagged(tag: str, **more: Any) -> dict[str, Any]:
    properties = {"type": {"type": "string", "enum": [tag]}, **more}
    return {"type": "object", "properties": properties, "required": ["type", *more]}


CARD, BANK = _tagged("card", number={"type": "string"}), _tagged("bank", iban={"type": "string"})
HAND: list[tuple[dict[str, Any], tuple[Any, ...], tuple[Any, ...]]] = [
    ({"allOf": [{"$ref": "#/$defs/Pet"}, MEOW], "$defs": {"Pet": PET}},
     ({"petType": "cat", "meowVolume": 11},), ({"petType": "cat"}, {"meowVolume": 11})),
    ({"allOf": [{"$ref": "#/definitions/Pet"}, {"$ref": "#/definitions/Meow"}],
      "definitions": {"Pet": PET, "Meow": MEOW}}, ({"petType": "cat", "meowVolume": 1},), ({"petType": "c"},)),
    ({"$ref": "#/$defs/Pet", **MEOW, "$defs": {"Pet": PET}},
     ({"petType": "cat", "meowVolume": 11},), ({"petType": "cat"},)),
    ({"$ref": "#/$defs/Pet", "description": "A pet", "nullable": True, "$defs": {"Pet": PET}},
     ({"petType": "cat"},), ({"petType": 1},)),
    ({"$ref": "#/components/schemas/Cat", "components": {"schemas": {
        "Pet": PET, "Cat": {"allOf": [{"$ref": "#/components/schemas/Pet"}, MEOW]}}}},
     ({"petType": "cat", "meowVolume": 1},), ({"petType": "cat"},)),
    ({"oneOf": [{"$ref": "#/$defs/Card"}, {"$ref": "#/$defs/Bank"}],
      "discriminator": {"propertyName": "type", "mapping": {"card": "#/$defs/Card"}},
      "$defs": {"Card": CARD, "Bank": BANK}}, ({"type": "bank", "iban": "x"},), ({"type": "card", "iban": "x"},)),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
     (3, "x", ["a"]), (None, [1])),
    ({"oneOf": [{"type": "string", "const": "a", "title": "A"}, {"type": "string", "const": "b"}]}, ("b",), ("c",)),
    ({"oneOf": [{"type": "object", "properties": {"a": {}}, "required": ["a"], "additionalProperties": False},
                {"type": "object", "properties": {"b": {}}, "required": ["b"], "additionalProperties": False}]},
     ({"a": 1}, {"b": 1}), ({"a": 1, "b": 1}, {})),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
      "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, ({"a": "x"}, {"b": "x"}), ({"a": "x", "b": "x"}, {})),
    ({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
      "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, ({"a": "x"}, {"a": "x", "b": "x"}), ({},)),
    ({"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"],
      "anyOf": [CARD, BANK]}, ({"id": 1, "type": "card", "number": "1"},), ({"id": 1},)),
    ({"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"],
      "oneOf": [CARD, BANK]}, ({"id": 1, "type": "bank", "iban": "1"},), ({"id": 1, "type": "bank"},)),
    ({"type": "number", "minimum": 0, "exclusiveMinimum": True, "$schema": "http://json-schema.org/draft-04/schema#"},
     (0.5,), (-1, 0)),
    ({"type": "object", "additionalProperties": {"type": "string"}}, ({"a": "b"},), ({"a": 1},)),
    ({"type": "object", "maxProperties": 2, "minProperties": 1, "properties": {"a": {}, "b": {}, "c": {}},
      "additionalProperties": False}, ({"a": 1}, {"a": 1, "c": 2}), ({}, {"a": 1, "b": 1, "c": 1})),
    ({"type": "string", "format": "int64"}, ("anything",), (1,)),
    ({"type": "string", "format": "date-time"}, ("2024-01-02T03:04:05Z",), ("yesterday",)),
    ({"type": "string", "enum": ["a", None], "nullable": True}, ("a",), (None, "b")),
    ({"type": "object", "properties": {"a": {"type": "integer"}}, "unevaluatedProperties": False,
      "allOf": [{"properties": {"b": {"type": "integer"}}}]}, ({"a": 1}, {"a": 1, "b": 2}), ({"c": 1},)),
    ({"allOf": [{"properties": {"a": {"type": "integer", "minimum": 1}}},
                {"properties": {"a": {"maximum": 5}}}], "type": "object", "required": ["a"]},
     ({"a": 3},), ({"a": 0}, {"a": 9})),
    ({"allOf": [{"type": "string"}], "title": "Wrapped"}, ("x",), (1,)),
    ({"not": {"type": "null"}}, (1, "x"), (None,)),
    ({"type": "string", "not": {"enum": ["a", "b"]}, "enum": ["a", "c"]}, ("c",), ("a",)),
    ({"type": "object", "properties": {"kind": {"enum": ["a", "b"]}, "x": {"type": "integer"}}, "required": ["kind"],
      "if": {"properties": {"kind": {"const": "a"}}}, "then": {"required": ["x"]}},
     ({"kind": "a", "x": 1}, {"kind": "b"}), ({"kind": "a"},)),
    ({"type": "object", "properties": {"card": {"type": "string"}, "address": {"type": "string"}},
      "dependentRequired": {"card": ["address"]}}, ({"card": "1", "address": "x"}, {}), ({"card": "1"},)),
]  # fmt: skip

IDLE: list[dict[str, Any]] = [
    {"dependentRequired": {}}, {"if": {"type": "object"}}, {"then": {"type": "string"}},
    {"unevaluatedProperties": True}, {"unevaluatedItems": True}, {"minContains": 1}, {"maxContains": 2},
    {"propertyNames": {"type": "string"}}, {"propertyNames": {}}, {"dependentSchemas": {}},
    {"dependencies": {}}, {"contentMediaType": "text/plain"}, {"contentSchema": {"type": "string"}},
    {"$comment": "x"}, {"$anchor": "top"}, {"deprecated": True}, {"readOnly": True}, {"example": 1},
    {"examples": [1]}, {"xml": {"name": "x"}}, {"externalDocs": {}}, {"x-order": 3}, {"nullable": False},
    {"uniqueItems": False}, {"additionalItems": False}, {"$vocabulary": {}}, {"format": "custom"},
    {"x-guidance": {"lenient": True, "whitespace_flexible": True, "coerce_one_of": True}},
    {"minProperties": 0}, {"allOf": []} | {"anyOf": [True]}, {"not": False}, {"contains": True, "minContains": 0},
    {"else": False}, {"definitions": {}}, {"$defs": {}},  {"patternProperties": {}},
]  # fmt: skip


def schemas() -> Iterator[Sample]:
    """Yield schemas by hand, schemas with keywords that change nothing, and random documents."""
    for at, (schema, good, bad) in enumerate(HAND):
        yield Sample(f"openapi-{at}", schema, good, bad)
    for at, idle in enumerate(IDLE):
        plain = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
        yield Sample(f"idle-{at}", {**plain, **idle}, ({"a": 1},), ({"a": "x"}, {}))
    chance = random.Random(5)
    for at in range(80):
        names = ["Pet", "Cat", "Order", "Error"]
        definitions = {name: _schema(chance, names[:place]) for place, name in enumerate(names)}
        if chance.random() < 0.5:
            yield Sample(f"openapi-random-{at}", {"$ref": "#/$defs/Error", "$defs": definitions})
        else:
            root = {"$ref": "#/components/schemas/Error"}
            text = {name: _moved(part) for name, part in definitions.items()}
            yield Sample(f"openapi-random-{at}", {**root, "components": {"schemas": text}})


def _moved(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _moved(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_moved(value) for value in part]
    return part.replace("#/$defs/", "#/components/schemas/") if isinstance(part, str) else part


def _schema(chance: random.Random, known: list[str]) -> dict[str, Any]:
    """Return the schema of an object, which refers to those before it.

    Names of properties are its own: what two composed schemas ask of one name may be no value.
    """
    names = [f"{name}{len(known) or ''}" for name in ("id", "name", "status", "tags", "price")]
    chosen = chance.sample(names, 3)
    own = {
        "type": "object",
        "properties": {name: _property(chance, known) for name in chosen},
        "required": chosen[:1] if chance.random() < 0.5 else [],
    }
    kind = chance.choice(["plain", "plain", "allOf", "beside", "closed"]) if known else "plain"
    if kind == "allOf":
        return {"allOf": [{"$ref": f"#/$defs/{chance.choice(known)}"}, own]}
    if kind == "beside":
        return {"$ref": f"#/$defs/{chance.choice(known)}", **own}
    # Of the last alone: what is composed with a closed object may be no value, too.
    return {**own, "additionalProperties": False} if len(known) == 3 else own


def _property(chance: random.Random, known: list[str]) -> dict[str, Any]:
    refs = [{"$ref": f"#/$defs/{name}"} for name in known]
    kinds: list[dict[str, Any]] = [
        {"type": "integer", "format": "int64", "example": 10},
        {"type": "number", "format": "double", "minimum": 0},
        {
            "type": "string",
            "format": chance.choice(["date-time", "password", "binary", "byte", "uri"]),
        },
        {"type": "string", "enum": ["placed", "approved"], "default": "placed"},
        {"type": "array", "items": {"type": "string"}, "maxItems": 3, "xml": {"wrapped": True}},
        {"type": "boolean", "nullable": True},
        {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        {"oneOf": [CARD, BANK], "discriminator": {"propertyName": "type"}},
        {"type": ["string", "null"]},
        {"type": "object"},
        *refs,
        *({"type": "array", "items": ref, "maxItems": 2} for ref in refs),
        *({"allOf": [ref], "description": "one"} for ref in refs),
        *({"anyOf": [ref, {"type": "null"}]} for ref in refs),
    ]
    return chance.choice(kinds)

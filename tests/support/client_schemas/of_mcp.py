"""Schemas of the tools of MCP servers and coding agents, as they list them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from tests.support.client_schemas import Sample

OLD = "http://json-schema.org/draft-07/schema#"
TEXT: dict[str, Any] = {"type": "string"}
EDIT = {
    "type": "object",
    "properties": {
        "oldText": {"type": "string", "description": "Text to search for"},
        "newText": TEXT,
    },
    "required": ["oldText", "newText"],
    "additionalProperties": False,
}


def _tool(properties: dict[str, Any], *required: str, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), **more}


HAND: list[tuple[dict[str, Any], Any, Any]] = [
    (_tool({"path": TEXT, "edits": {"type": "array", "items": EDIT}, "dryRun": {"type": "boolean", "default": False}},
           "path", "edits", additionalProperties=False, **{"$schema": OLD}),
     {"path": "/a", "edits": [{"oldText": "a", "newText": "b"}]}, {"path": "/a", "edits": [{}]}),
    (_tool({}, additionalProperties=False), {}, {"a": 1}),
    ({"type": "object"}, {"anything": [1]}, []),
    (_tool({}), {}, 3),
    (_tool({"owner": TEXT, "repo": TEXT, "labels": {"type": "array", "items": TEXT}, "perPage": {
        "type": "number", "minimum": 1, "maximum": 100}}, "owner", "repo"),
     {"owner": "a", "repo": "b", "perPage": 30}, {"owner": "a", "repo": "b", "perPage": 101}),
    (_tool({"thought": TEXT, "nextThoughtNeeded": {"type": "boolean"},
            "thoughtNumber": {"type": "integer", "minimum": 1}}, "thought", "nextThoughtNeeded", "thoughtNumber"),
     {"thought": "x", "nextThoughtNeeded": True, "thoughtNumber": 1}, {"thought": "x"}),
    (_tool({"entities": {"type": "array", "items": _tool({"name": TEXT, "observations": {
        "type": "array", "items": TEXT}}, "name", "observations")}}, "entities"),
     {"entities": [{"name": "a", "observations": []}]}, {"entities": [{"name": "a"}]}),
    (_tool({"url": {"type": "string", "format": "uri"}, "max_length": {
        "default": 5000, "exclusiveMaximum": 1000000, "exclusiveMinimum": 0, "type": "integer"}}, "url"),
     {"url": "https://example.com", "max_length": 1}, {"url": "https://example.com", "max_length": 0}),
    (_tool({"query": TEXT, "filter": {"type": "object", "additionalProperties": True}}, "query"),
     {"query": "x", "filter": {"a": 1}}, {"filter": {}}),
    (_tool({"headers": {"type": "object", "additionalProperties": TEXT, "propertyNames": TEXT}}),
     {"headers": {"a": "b"}}, {"headers": {"a": 1}}),
    (_tool({"rows": {"type": "array", "items": {"type": "array", "items": {}}}}, "rows"), {"rows": [[1, None]]}, {}),
    (_tool({"id": TEXT, "name": TEXT}, anyOf=[{"required": ["id"]}, {"required": ["name"]}]), {"name": "x"}, {}),
    (_tool({"value": {"type": ["string", "number", "boolean", "null"]}}, "value"), {"value": None}, {"value": []}),
    (_tool({"block": {"oneOf": [
        _tool({"type": {"const": "text"}, "text": TEXT}, "type", "text"),
        _tool({"type": {"const": "image"}, "url": TEXT}, "type", "url")]}}, "block"),
     {"block": {"type": "image", "url": "x"}}, {"block": {"type": "image", "text": "x"}}),
    (_tool({"mode": {"type": "string", "enum": ["a", "b"], "enumNames": ["A", "B"]}}, "mode"), {"mode": "a"}, {"mode": "c"}),
    (_tool({"at": {"$ref": "#/definitions/P"}, "to": {"$ref": "#/properties/at"}}, "at", "to",
           definitions={"P": _tool({"x": {"type": "number"}}, "x")}), {"at": {"x": 1}, "to": {"x": 2}}, {"at": {"x": 1}}),
]  # fmt: skip


def schemas() -> Iterator[Sample]:
    """Yield tools by hand, and tools of random parameters."""
    for at, (schema, good, bad) in enumerate(HAND):
        yield Sample(f"mcp-{at}", schema, (good,), (bad,))
    chance = random.Random(6)
    for at in range(90):
        yield Sample(f"mcp-random-{at}", _random(chance, 2))


def _random(chance: random.Random, depth: int) -> dict[str, Any]:
    names = ["path", "query", "limit", "options", "items", "dry_run", "format", "type", "default"]
    chosen = chance.sample(names, chance.randint(1, 4))
    properties = {name: _parameter(chance, depth) for name in chosen}
    more: dict[str, Any] = chance.choice([
        {}, {"additionalProperties": False}, {"$schema": OLD}, {"additionalProperties": {}},
        {"additionalProperties": TEXT}, {"title": "Arguments"}, {"minProperties": 1},
    ])  # fmt: skip
    return _tool(properties, *(name for name in chosen if chance.random() < 0.5), **more)


def _parameter(chance: random.Random, depth: int) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        {"type": "string", "description": "Where"},
        {"type": "string", "minLength": 1, "pattern": r"^[\w./-]+$"},
        {"type": "string", "pattern": r"\S"},
        {"type": "string", "format": chance.choice(["date", "email", "ipv4", "path", "regex", "hostname"])},
        {"type": "integer", "default": 10, "minimum": 1, "maximum": 50},
        {"type": "number", "multipleOf": 0.25, "minimum": 0, "maximum": 10},
        {"type": "boolean"},
        {"type": "string", "enum": ["json", "text"]},
        {"enum": ["a", 1, None]},
        {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 4},
        {"type": "array"},
        {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
        {"description": "anything"},
        {"type": ["integer", "null"]},
        {"type": "object", "patternProperties": {"^x-": TEXT}, "additionalProperties": False},
        {"type": "object", "patternProperties": {r"^\d+$": {"type": "number"}, "^[a-z]+$": TEXT}},
    ]  # fmt: skip
    if depth:
        kinds += [
            _random(chance, depth - 1),
            {"type": "array", "items": _random(chance, depth - 1), "maxItems": 2},
            {"anyOf": [_random(chance, depth - 1), TEXT]},
        ]
    return chance.choice(kinds)

"""The bodies of requests as JSON Schema, from the contract's types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from handler.contract.request import Request
from handler.openapi.fields import described

Schema = dict[str, Any]

PREFIX = "#/components/schemas/"
# Limits as pydantic writes them on what it reads leniently, in JSON Schema's words.
_LIMITS = {
    "ge": "minimum",
    "le": "maximum",
    "gt": "exclusiveMinimum",
    "lt": "exclusiveMaximum",
}
# Types of the contract whose names say too little among all others.
_NAMES = {
    "Call": "MessageToolCall",
    "FlatChoice": "ResponseToolChoice",
    "FlatTool": "ResponseTool",
    "Function": "MessageToolFunction",
    "Lora": "LoraAdapter",
    "Named": "ToolName",
    "NamedTool": "ToolChoice",
    "ServerVad": "ServerVoiceActivity",
    "TextFormat": "ResponseTextFormat",
    "TextOptions": "ResponseTextOptions",
    "Vad": "VoiceActivity",
}
FILE: Schema = {
    "type": "string",
    "format": "binary",  # generators know a file by this, OpenAPI 3.1 by the next
    "contentMediaType": "application/octet-stream",
}


def schemas(requests: Iterable[type[Request]], answers: Iterable[type[BaseModel]]) -> Schema:
    """Return the schemas of all types and of what lies within them, by name."""
    modes: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((fromkey, "validation") for fromkey in dict.fromkeys(requests)),
        *((fromkey, "serialization") for fromkey in dict.fromkeys(answers)),
    ]
    _, made = models_json_schema(modes, ref_template=PREFIX + "{model}")
    found: Schema = {
        _NAMES.get(name, name): _simplified(schema)
        for name, schema in made.get("$defs", {}).items()
    }
    for kind in dict.fromkeys(requests):
        _describe(kind, found[kind.__name__])
    return found


def form(kind: str, schema: Schema, files: Mapping[str, str]) -> Schema:
    """Return the schema of a form that brings files.

    Args:
        kind: the name of the request's type.
        schema: its body as JSON.
        files: the form's names of files, and the fields of the body that they stand for; the first
            must come.
    """
    fields = {name: one for name, one in schema["properties"].items() if name not in files.values()}
    said = {
        name: described(kind, name) or schema["properties"][field].get("description", "")
        for name, field in files.items()
    }
    brought = {name: {**FILE, "description": text} for name, text in said.items()}
    needed = [name for name in schema.get("required", ()) if name in fields]
    return {
        **schema,
        "description": "The same as a form, with the file itself.",
        "properties": {**brought, **fields},
        "required": [*needed, next(iter(files))],
    }


def _simplified(schema: Any) -> Any:
    """Return a schema in JSON Schema's words, without what says nothing."""
    if isinstance(schema, list):
        return [_simplified(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain: Schema = {}
    for key, value in schema.items():
        if key == "$ref":
            plain[key] = _reference(value)
        elif key == "properties":
            plain[key] = {name: _property(schema) for name, schema in value.items()}
        elif key == "description":
            plain[key] = value.replace("``", "`")
        elif key == "discriminator":
            plain[key] = _discriminator(value)
        elif key != "title" or isinstance(value, dict):
            plain[str(_LIMITS.get(key, key))] = _simplified(value)
    return plain


def _reference(path: str) -> str:
    name = path.removeprefix(PREFIX)
    return PREFIX + _NAMES.get(name, name)


def _property(schema: Schema) -> Schema:
    """Return a field's schema; a default of null is that of a field that is left out."""
    plain: Schema = _simplified(schema)
    if plain.get("default", "") is None:
        del plain["default"]
    return plain


def _discriminator(value: Mapping[str, Any]) -> Schema:
    mapping = {key: _reference(reference) for key, reference in value["mapping"].items()}
    return {"propertyName": value["propertyName"], "mapping": mapping}


def _describe(kind: type[Request], schema: Schema) -> None:
    """Say of each field what it does, and what else it is called."""
    for name, field in schema["properties"].items():
        also = sorted(alias for alias, field in kind.aliases.items() if field == name)
        text = [described(kind.__name__, name)]
        text += [f"Also: {', '.join(f'`{alias}`' for alias in also)}."] if also else []
        if said := " ".join(filter(None, text)):
            field["description"] = said

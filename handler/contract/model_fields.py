"""The fields that a model takes, as ``GET /v1/models/{id}`` lists them for forms and clients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, get_args

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from handler.contract.request import Request
from models.row import Row
from models.warm.loader import differences

# Of a field's schema, what a form needs; what lies within objects and lists is in the documents.
_TOLD = ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "maxItems")
_LIMITS = {Ge: "minimum", Le: "maximum", Gt: "exclusiveMinimum", Lt: "exclusiveMaximum"}
_OF_EVERY_REQUEST = frozenset({"model", "strict"})


def offered(kind: type[Request], row: Row) -> dict[str, dict[str, Any]]:
    """The fields that a model honours: by name, their type, limits, choices and default.

    In JSON Schema's words; a default is that of the model, and is left out where there is none.
    """
    differing = differences(row)
    properties: Mapping[str, Any] = kind.model_json_schema(mode="serialization")["properties"]
    fields = {}
    for name, schema in properties.items():
        differs = differing.get(name, {})
        if name in _OF_EVERY_REQUEST or differs is None:
            continue
        told = {**_type_and_limits(schema), **differs}
        if told.get("type") != "object":
            told |= _limits(kind.model_fields[name])
        default = row.defaults.get(name, schema.get("default"))
        plain = default is not None and not isinstance(default, list | dict)
        fields[name] = {**told, "default": default} if plain else told
    return fields


def _type_and_limits(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A field's own type and limits; of one that may be several things, the first."""
    branches = [branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null"]
    first = branches[0] if branches else {}
    told = {key: first[key] for key in _TOLD if key in first}
    if "const" in first:
        told["enum"] = [first["const"]]
    types = _types(branches)
    return {**told, "type": types[0] if len(types) == 1 else types} if types else told


def _limits(field: FieldInfo) -> dict[str, Any]:
    """A number's limits, which pydantic's schema does not know of those that it reads leniently."""
    told = {}
    for constraint in (*field.metadata, *_annotations(field.annotation)):
        for kind, key in _LIMITS.items():
            if isinstance(constraint, kind):
                told[key] = getattr(constraint, kind.__name__.lower())
    return told


def _annotations(annotation: Any) -> Iterator[Any]:
    """Yield the annotations of a type, and of the members of a union."""
    for argument in get_args(annotation):
        if isinstance(argument, FieldInfo):
            yield from argument.metadata
        else:
            yield from _annotations(argument)


def _types(branches: Iterable[Mapping[str, Any]]) -> list[str]:
    named = (branch.get("type", "object" if "$ref" in branch else None) for branch in branches)
    return list(dict.fromkeys(name for name in named if name is not None))

"""A form's texts as the values that they stand for, by the types of a request's fields."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from handler.contract.request import Request
from models.errors import InvalidValue

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off"})


class Upload(str):
    """A reference to a file that came with the form; it is not looked into."""

    __slots__ = ()


class _Repeated(list[Any]):
    """The values of a name that was sent several times, or as ``name[]``."""


def body_of(values: Iterable[tuple[tuple[str, ...], str]], kind: type[Request]) -> dict[str, Any]:
    """Build a request's body.

    Args:
        values: each text with the steps of its name.
        kind: the request's type, whose fields say how texts are read.

    Raises:
        InvalidValue: names contradict each other, or a field is sent more often than it has values.
    """
    tree: dict[str, Any] = {}
    for steps, text in values:
        if isinstance(text, Upload) or text.strip():
            _insert(tree, steps, text)
    schemas = _schemas(kind)
    return {name: _Reader(name).value(value, schemas.get(name, {})) for name, value in tree.items()}


def _insert(tree: dict[str, Any], steps: Sequence[str], text: str) -> None:
    """Put a text into its place; objects and lists are both dictionaries so far."""
    *parents, last = steps
    node = tree
    for step in parents:
        node = node.setdefault(step, {})
        if not isinstance(node, dict):
            raise _contradicting(steps)
    if last == "":
        # ``name[]`` is an element of the list that its parent stands for.
        elements = node.setdefault(last, _Repeated())
        elements.append(text)
    elif last not in node:
        node[last] = text
    elif isinstance(node[last], dict):
        raise _contradicting(steps)
    elif isinstance(node[last], _Repeated):
        node[last].append(text)
    else:
        node[last] = _Repeated([node[last], text])


def _contradicting(steps: Sequence[str]) -> InvalidValue:
    return InvalidValue(
        f"The form sends {steps[0]} as a value and as an object; send it once.",
        param=steps[0],
    )


class _Reader:
    """Reads the values of one field.

    Args:
        name: the field's name, for errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def value(self, given: Any, schema: Mapping[str, Any]) -> Any:
        """Return a value by its schema, in JSON Schema's words and without references."""
        if isinstance(given, dict):
            return self._nested(given, schema)
        if isinstance(given, _Repeated):
            return self._list(given, schema)
        branches = _branches(schema)
        types = _types(branches)
        value = str(given) if isinstance(given, Upload) else _scalar(given, types)
        if types == {"array"} and not isinstance(value, list):
            return [self.value(given, _items(branches))]
        return value

    def _nested(self, given: dict[str, Any], schema: Mapping[str, Any]) -> Any:
        branches = _branches(schema)
        if all(step == "" or step.isdecimal() for step in given):
            ordered = sorted((step for step in given if step), key=int)
            elements = [given[step] for step in ordered]
            return self._list([*elements, *given.get("", ())], schema)
        properties: dict[str, Any] = {}
        for branch in branches:
            properties |= branch.get("properties", {})
        return {name: self.value(value, properties.get(name, {})) for name, value in given.items()}

    def _list(self, given: Sequence[Any], schema: Mapping[str, Any]) -> Any:
        branches = _branches(schema)
        types = _types(branches)
        if types and "array" not in types:
            if len(given) > 1:
                raise InvalidValue(
                    f"{self._name} was sent {len(given)} times; send it once.", param=self._name
                )
            return self.value(given[0], schema)
        return [self.value(element, _items(branches)) for element in given]


def _scalar(text: str, types: set[str]) -> Any:
    """Return a text as what its field may be; what cannot be read stays, for validation to name."""
    plain = text.strip()
    if "boolean" in types and (word := plain.lower()) in _TRUE | _FALSE:
        return word in _TRUE
    opening = {"{": "object", "[": "array"}.get(plain[:1])
    if opening in types or (types & {"integer", "number"} and opening is None):
        try:
            value = json.loads(plain)
        except (ValueError, RecursionError):
            return text
        kinds = (dict, list) if opening else (int, float)
        return value if isinstance(value, kinds) and not isinstance(value, bool) else text
    return text


@lru_cache(maxsize=32)
def _schemas(kind: type[Request]) -> Mapping[str, Any]:
    """Return the schema of each field under each of its names, references resolved."""
    whole = kind.model_json_schema()
    fields = _resolved(whole["properties"], whole.get("$defs", {}))
    unsupported = {
        name: {"type": ["boolean" if isinstance(number, bool) else "number" for number in numbers]}
        for name, field in kind.unsupported.items()
        if (numbers := [value for value in field.neutral if isinstance(value, int | float)])
    }
    named = {alias: fields[name] for alias, name in kind.aliases.items() if name in fields}
    return {**unsupported, **named, **fields}


def _resolved(schema: Any, definitions: Mapping[str, Any], depth: int = 12) -> Any:
    """Return a schema with its references replaced; recursion ends at a depth no form reaches."""
    if isinstance(schema, list):
        return [_resolved(part, definitions, depth) for part in schema]
    if not isinstance(schema, dict) or not depth:
        return schema
    if (reference := schema.get("$ref")) is not None:
        return _resolved(definitions[reference.rpartition("/")[2]], definitions, depth - 1)
    return {name: _resolved(part, definitions, depth - 1) for name, part in schema.items()}


def _branches(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [branch for branch in schema.get("anyOf", schema.get("oneOf", [schema])) if branch]


def _types(branches: Iterable[Mapping[str, Any]]) -> set[str]:
    types: set[str] = set()
    for branch in branches:
        if "anyOf" in branch or "oneOf" in branch:
            types |= _types(_branches(branch))
        named = branch.get("type")
        types |= {named} if isinstance(named, str) else set(named or ())
    return types - {"null"}


def _items(branches: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    for branch in branches:
        if branch.get("type") == "array":
            items: Mapping[str, Any] = branch.get("items", {})
            return items
    return {}

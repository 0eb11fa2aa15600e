"""Unions of cases: simplified, loosened, and closed to properties that no keyword evaluates."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from models.chat.schemas.cases import ANY, Case
from models.chat.schemas.document import Document, Node
from models.chat.schemas.shapes import Arrays, Items, Objects, Pattern, Properties, Strings
from models.chat.schemas.values import Value

Cases = tuple[Case, ...]


def tidy(cases: Iterable[Case]) -> Cases:
    """Return cases without those contained in another; listed values of one type are merged."""
    made: dict[Case, None] = {}
    values: dict[str, dict[Value, None]] = {}
    for case in cases:
        plain = replace(case, values=None)
        if case.values is not None and plain == replace(ANY[case.kind], values=None):
            values.setdefault(case.kind, {}).update(dict.fromkeys(case.values))
        else:
            made[case] = None
    free = {case.kind for case in made if case.free}
    listed = [
        Case(kind, ANY[kind].shape, tuple(own)) for kind, own in values.items() if kind not in free
    ]
    kept = [case for case in made if case.free or case.kind not in free]
    return tuple(sorted((*listed, *kept), key=lambda case: _ORDER[case.kind]))


_ORDER = {kind: at for at, kind in enumerate(ANY)}


def given(node: Node, key: str) -> dict[str, Any]:
    """Return a keyword's object; an absent or empty one is ``{}``.

    Raises:
        Refused: it is not an object.
    """
    value = node.get(key)
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise node.refused("must be an object", key)
    return value


def loosened(cases: Cases) -> Cases:
    """Return cases marked as possibly allowing more values than the schema does."""
    return tuple(replace(case, loose=True) for case in cases)


def without_formats(case: Case) -> Case:
    """Return a case without the patterns that are formats."""
    if not isinstance(case.shape, Strings):
        return case
    patterns: tuple[Pattern, ...] = tuple(p for p in case.shape.patterns if not p.is_format)
    return replace(case, shape=replace(case.shape, patterns=patterns))


def _other_properties(case: Case, anything: Node, rest: Node) -> Case:
    """Return a case whose properties match ``rest`` if no keyword names them."""
    if not isinstance(case.shape, Objects):
        return case
    known = case.shape.properties
    if any(shape.rest is not None for shape in known):
        return case
    names = {name: anything for shape in known for name in shape.names}
    patterns = tuple((pattern, anything) for shape in known for pattern, _ in shape.patterns)
    held = Properties(names, patterns, rest, says=True)
    return replace(case, shape=replace(case.shape, properties=(*known, held)))


def _other_items(case: Case, anything: Node, rest: Node) -> Case:
    """Return a case whose items match ``rest`` if no keyword covers them."""
    if not isinstance(case.shape, Arrays) or any(
        item.rest is not None for item in case.shape.items
    ):
        return case
    held = Items((anything,) * case.shape.front, rest)
    return replace(case, shape=replace(case.shape, items=(*case.shape.items, held)))


def dependents(document: Document, node: Node) -> tuple[dict[str, list[str]], dict[str, Node]]:
    """Return the properties and the schemas that a property requires, by its name."""
    needs: dict[str, list[str]] = {}
    schemas: dict[str, Node] = {}
    for key in ("dependentRequired", "dependentSchemas", "dependencies"):
        for name, value in given(node, key).items():
            if isinstance(value, list):
                needs.setdefault(name, []).extend(map(str, value))
            else:
                schemas[name] = document.child(node, key, name)
    return needs, schemas


def closed(document: Document, node: Node, cases: Cases, outer: bool) -> Cases:
    """Return cases with ``unevaluated…`` applied to what no other keyword evaluates."""
    for key, rule in (
        ("unevaluatedProperties", _other_properties), ("unevaluatedItems", _other_items)
    ):  # fmt: skip
        if node.get(key) is None or node.get(key) is True:
            continue
        if outer:
            cases = loosened(cases)
            continue
        rest = document.child(node, key)
        anything = document.made(node, True)
        cases = tuple(rule(case, anything, rest) for case in cases)
    return cases

"""The cases of a schema's own keywords, without applicators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from models.chat.schemas.cases import ANY, Case, Empty, checked
from models.chat.schemas.document import Document, Node
from models.chat.schemas.formats import HELD
from models.chat.schemas.shapes import (
    Arrays,
    Contained,
    Items,
    Numbers,
    Objects,
    Pattern,
    Properties,
    Shape,
    Strings,
)
from models.chat.schemas.values import KINDS, Value, exact, grouped
from models.errors import shorten

_SAYS = ("additionalProperties", "unevaluatedProperties", "patternProperties")

# Keywords beside ``$ref`` that constrain values; all others are annotations.
ASSERTING = frozenset({
    *_SAYS, "$dynamicRef", "$recursiveRef", "additionalItems", "allOf", "anyOf", "const",
    "contains", "dependencies", "dependentRequired", "dependentSchemas", "enum",
    "exclusiveMaximum", "exclusiveMinimum", "format", "if", "items", "maxItems", "maxLength",
    "maxProperties", "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf",
    "not", "oneOf", "pattern", "prefixItems", "properties", "propertyNames", "required", "type",
    "unevaluatedItems", "uniqueItems",
})  # fmt: skip


class Keywords:
    """Reads the keywords of a document's schemas."""

    def __init__(self, document: Document) -> None:
        self._document = document
        # Cached, because the nodes of items and properties are compared by identity.
        self._known: dict[Node, tuple[Case, ...]] = {}
        self._read: dict[str, Callable[[Node], Shape]] = {
            "string": self._strings,
            "array": self._arrays,
            "object": self._objects,
        }

    def cases(self, node: Node) -> tuple[Case, ...]:
        """Return the constraints of a schema, a case per type.

        Raises:
            Refused: a keyword has an invalid value.
        """
        if node not in self._known:
            self._known[node] = tuple(self._cases(node))
        return self._known[node]

    def _cases(self, node: Node) -> Iterator[Case]:
        kinds, values = self._kinds(node), self._values(node)
        for kind, integer in kinds.items():
            if values is not None and kind not in values:
                continue
            shape = self._numbers(node, integer) if kind == "number" else ANY[kind].shape
            if kind in self._read:
                shape = self._read[kind](node)
            given = ANY[kind].values if values is None else values[kind]
            try:
                yield checked(Case(kind, shape, given))
            except Empty as empty:
                node.note(str(empty))

    @staticmethod
    def _kinds(node: Node) -> dict[str, bool]:
        """Return the types of a schema, and for each whether only integers are allowed."""
        given = node.get("type")
        if given is None:
            return dict.fromkeys(KINDS, False)
        kinds: dict[str, bool] = {}
        for name in given if isinstance(given, list) else [given]:
            kind = "number" if name == "integer" else name
            if kind not in KINDS:
                raise node.refused(f"Invalid type: {shorten(str(name))}")
            kinds[kind] = name == "integer" and kinds.get(kind, True)
        return kinds

    @staticmethod
    def _values(node: Node) -> dict[str, tuple[Value, ...]] | None:
        """Return the values of ``enum`` and ``const`` by type, None without these keywords."""
        listed = node.get("enum")
        if listed is not None and not isinstance(listed, list):
            raise node.refused("must be a list of values", "enum")
        values = None if listed is None else [Value.of(raw) for raw in listed]
        if "const" in node.schema:
            const = Value.of(node.schema["const"])
            values = [const] if values is None or const in values else []
        return None if values is None else grouped(values)

    @staticmethod
    def _numbers(node: Node, integer: bool) -> Numbers:
        low, high = _bound(node, "minimum"), _bound(node, "maximum")
        lows = [
            bound for bound in (low, _bound(node, "exclusiveMinimum", low)) if bound is not None
        ]
        highs = [
            bound for bound in (high, _bound(node, "exclusiveMaximum", high)) if bound is not None
        ]
        step = node.get("multipleOf")
        multiples: tuple[Fraction, ...] = ()
        if step is not None:
            if not _is_number(step) or step <= 0:
                raise node.refused("must be a number above 0", "multipleOf")
            multiples = (exact(step),)
            integer = integer or multiples[0].denominator == 1
        keyword = node.not_held("multipleOf") if multiples else None
        whole = Numbers(integer, max(lows, default=None), None, multiples, keyword)
        for high in highs:
            whole = whole.merged(Numbers(high=high))
        return whole

    @staticmethod
    def _strings(node: Node) -> Strings:
        patterns = []
        for key in ("pattern", "format"):
            source = node.get(key)
            if source is None:
                continue
            if not isinstance(source, str):
                raise node.refused("must be a string", key)
            if key == "format" and source not in HELD:  # an annotation, as JSON Schema has it
                continue
            patterns.append(Pattern(source, key == "format", node))
        least, most = _count(node, "minLength"), _count(node, "maxLength")
        return Strings(least or 0, most, tuple(patterns))

    def _arrays(self, node: Node) -> Arrays:
        items = Items(*self._items(node))
        least, most = _count(node, "minItems"), _count(node, "maxItems")
        contains: tuple[Contained, ...] = ()
        if node.get("contains") is not None:
            at_least = _count(node, "minContains")
            contains = (
                Contained(
                    self._document.child(node, "contains"),
                    1 if at_least is None else at_least,
                    _count(node, "maxContains"),
                    node.not_held("contains"),
                ),
            )
        return Arrays(
            (items,) if items.front or items.rest is not None else (),
            least or 0,
            most,
            tuple(contain for contain in contains if contain.least or contain.most is not None),
            node.not_held("uniqueItems") if node.get("uniqueItems") else None,
        )

    def _items(self, node: Node) -> tuple[tuple[Node, ...], Node | None]:
        """Return the schemas of the first items, and the schema of the rest."""
        document = self._document
        front = tuple(document.children(node, "prefixItems"))
        if isinstance(node.get("items"), list):  # before 2020-12
            front, rest = tuple(document.children(node, "items")), "additionalItems"
        else:
            rest = "items"
        return front, None if node.get(rest) is None else document.child(node, rest)

    def _objects(self, node: Node) -> Objects:
        properties = self._properties(node)
        required = node.get("required")
        if required is None:
            required = []
        if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
            raise node.refused("must be a list of names", "required")
        least, most = _count(node, "minProperties"), _count(node, "maxProperties")
        return Objects(
            () if properties is None else (properties,),
            tuple(dict.fromkeys(required)),
            least=least or 0,
            most=most,
            counted=self._counted(node, least, most),
        )

    @staticmethod
    def _counted(node: Node, least: int | None, most: int | None) -> str | None:
        keys = [
            key for key, n in (("minProperties", least), ("maxProperties", most)) if n is not None
        ]
        return node.not_held(*keys) if most is not None or least else None

    def _properties(self, node: Node) -> Properties | None:
        document = self._document
        if all(node.get(key) is None for key in ("properties", "propertyNames", *_SAYS)):
            return None
        patterns = document.named(node, "patternProperties")
        rest, keys = (
            None if node.get(key) is None else document.child(node, key)
            for key in ("additionalProperties", "propertyNames")
        )
        return Properties(
            document.named(node, "properties"),
            tuple(patterns.items()),
            rest,
            says=any(node.get(key) is not None for key in _SAYS),
            lists=node.get("properties") is not None,
            keys=keys,
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bound(
    node: Node, key: str, beside: tuple[Fraction, bool] | None = None
) -> tuple[Fraction, bool] | None:
    """Return a bound of numbers; in old drafts, True makes the bound ``beside`` exclusive."""
    value = node.get(key)
    if value is None or value is False:
        return None
    if value is True and beside is not None:
        return beside[0], True
    if not _is_number(value):
        raise node.refused("must be a number", key)
    return exact(value), key.startswith("exclusive")


def _count(node: Node, key: str) -> int | None:
    value = node.get(key)
    if value is None:
        return None
    if not _is_number(value) or value < 0 or value != int(value):
        raise node.refused("must be a whole number, at least 0", key)
    return int(value)

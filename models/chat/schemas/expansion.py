"""Expand schemas into cases, through all applicators.

Each schema is expanded in two ways. The inner cases restrict answers: all of their values are
valid. The outer cases (``outer``) omit constraints that cannot be expressed: they contain all valid
values, so they show which values a branch of ``oneOf`` certainly excludes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from models.chat.request import TOO_COMPLEX
from models.chat.schemas.cases import ANY, Case, Empty, merged
from models.chat.schemas.document import Document, Node
from models.chat.schemas.fitting import Fitting
from models.chat.schemas.keywords import ASSERTING, Keywords
from models.chat.schemas.limits import Refused
from models.chat.schemas.separation import Separation
from models.chat.schemas.shapes import Objects
from models.chat.schemas.unions import (
    Cases,
    closed,
    dependents,
    loosened,
    tidy,
    without_formats,
)

_MAX_CASES = 512  # per schema
_MAX_WORK = 200_000  # pairs of cases that are merged

_ENDLESS = "it refers to itself without an end"
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_COMPOSED = frozenset({
    *_REFERENCES, "allOf", "anyOf", "oneOf", "not", "if", "dependentRequired", "dependentSchemas",
    "dependencies", "unevaluatedProperties", "unevaluatedItems",
})  # fmt: skip


class Expansion:
    """Expands a document's schemas."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self._keywords = Keywords(document)
        self._separation = Separation(document, self)
        self._fitting = Fitting(self, outer=False)
        self._known: dict[tuple[Node, bool], Cases] = {}
        self._together: dict[tuple[frozenset[Node], bool], Cases] = {}
        self._open: set[tuple[Node, bool]] = set()
        self._work = 0
        self._steps: tuple[Callable[[Node, Cases, bool], Cases], ...] = (
            self._any_of, self._one_of, self._not, self._if, self._dependent, self._unevaluated
        )  # fmt: skip

    def cases(self, nodes: Sequence[Node], *, outer: bool = False) -> Cases:
        """Return the cases of the values that are valid by all schemas.

        Raises:
            Refused: a schema is invalid or too complex.
        """
        if len(nodes) == 1:
            return self._of(nodes[0], outer)
        key = frozenset(nodes), outer
        if key not in self._together:
            made: Cases = _ALL
            for node in nodes:
                made = self._both(made, self._of(node, outer))
            self._together[key] = made
        return self._together[key]

    def fits(self, nodes: Sequence[Node], raw: object) -> bool | None:
        """Whether a value may be an answer by all schemas; None if unknown."""
        return self._fitting.all(nodes, raw)

    def fits_case(self, case: Case, raw: object) -> bool:
        """Whether a value is certainly an answer of a case."""
        return self._fitting.case(case, raw) is True

    def plain(self, nodes: Sequence[Node]) -> tuple[Node, ...]:
        """Return equivalent schemas, without references and schemas that allow everything."""
        return tuple(dict.fromkeys(
            found for node in nodes if (found := self._referred(node)).schema is not True
        ))  # fmt: skip

    def _referred(self, node: Node) -> Node:
        """Follow a schema that is only a reference."""
        seen = set()
        while isinstance(node.schema, dict) and isinstance(node.get("$ref"), str):
            if not (self.document.legacy or ASSERTING.isdisjoint(node.schema)):
                break
            seen.add(node)
            node = self.document.referred(node, "$ref")
            if node in seen:
                raise node.refused(_ENDLESS)
        return node

    def asks_nothing(self, nodes: Sequence[Node]) -> bool:
        """Whether every value is valid by all schemas."""
        return all(
            node.schema is True or (node.schema is not False and self._of(node, True) == _ALL)
            for node in nodes
        )

    def _of(self, node: Node, outer: bool) -> Cases:
        key = node, outer
        if key not in self._known:
            if key in self._open:
                raise node.refused(_ENDLESS)
            self._open.add(key)
            self._known[key] = self._expanded(node, outer)
            self._open.discard(key)
        return self._known[key]

    def _expanded(self, node: Node, outer: bool) -> Cases:
        if isinstance(node.schema, bool):
            return _ALL if node.schema else ()
        if self.document.legacy and "$ref" in node.schema:
            return self._of(self.document.referred(node, "$ref"), outer)
        own: Cases = self._keywords.cases(node)
        if outer:
            own = tuple(map(without_formats, own))
        if not _COMPOSED.isdisjoint(node.schema):
            cases = self._composed(node, own, outer)
            for step in self._steps:
                cases = step(node, cases, outer)
            own = cases
        return own

    def _composed(self, node: Node, own: Cases, outer: bool) -> Cases:
        """Merge a schema's own cases with those of ``allOf`` and references, in order."""
        made: Cases = _ALL
        keys = [key for key in node.schema if key in (*_REFERENCES, "allOf", "properties")]
        for key in keys if "properties" in keys else ["properties", *keys]:
            if key == "properties":
                made = self._both(made, own, node)
            elif key == "allOf":
                for child in self.document.children(node, key):
                    made = self._both(made, self._of(child, outer), node)
            elif node.get(key) is not None:
                made = self._both(made, self._of(self.document.referred(node, key), outer), node)
        return made

    def _any_of(self, node: Node, cases: Cases, outer: bool) -> Cases:
        if node.get("anyOf") is None:
            return cases
        branches = self.document.children(node, "anyOf")
        union = tidy(case for branch in branches for case in self._of(branch, outer))
        return self._both(cases, union, node)

    def _one_of(self, node: Node, cases: Cases, outer: bool) -> Cases:
        if node.get("oneOf") is None:
            return cases
        branches = self.document.children(node, "oneOf")
        if outer or len(branches) < 2:
            union = tidy(case for branch in branches for case in self._of(branch, outer))
            return self._both(cases, loosened(union) if len(branches) > 1 else union, node)
        others = [self._of(branch, True) for branch in branches]
        trouble = node.not_held("oneOf", hint="; use anyOf")
        made: list[Case] = []
        for at, branch in enumerate(branches):
            rest = [other for place, other in enumerate(others) if place != at]
            for case in self._both(cases, self._of(branch, outer), node):
                made += self._separation.apart(case, rest, trouble)
        if not made:
            node.note("the branches of oneOf leave no value to one of them alone")
        return self._limited(tidy(made))

    def _not(self, node: Node, cases: Cases, outer: bool) -> Cases:
        if node.get("not") is None:
            return cases
        others = self._of(self.document.child(node, "not"), True)
        if outer:
            return loosened(cases) if others else cases
        made = [
            part
            for case in cases
            for part in self._separation.apart(case, [others], node.not_held("not"))
        ]
        if not made:
            node.empty = node.empty or node.not_held("not")
        return self._limited(tidy(made))

    def _if(self, node: Node, cases: Cases, outer: bool) -> Cases:
        keys = [key for key in ("then", "else") if node.get(key) is not None]
        if node.get("if") is None or not keys:
            return cases
        child = self.document.child
        branches = {key: child(node, key) for key in keys}
        if all(self.asks_nothing([branch]) for branch in branches.values()):
            return cases
        if outer:
            return loosened(cases)
        condition = child(node, "if")
        trouble = node.not_held("if", *keys)
        met = self._both(cases, self._of(condition, outer), node)
        unmet: list[Case] = []
        for case in cases:
            unmet += self._separation.apart(case, [self._of(condition, True)], trouble)
        if "then" in branches:
            met = self._both(met, self._of(branches["then"], outer), node)
        missed = tidy(unmet)
        if "else" in branches:
            missed = self._both(missed, self._of(branches["else"], outer), node)
        return self._limited(tidy((*met, *missed)))

    def _dependent(self, node: Node, cases: Cases, outer: bool) -> Cases:
        """Apply the requirements of properties that are present."""
        needs, schemas = dependents(self.document, node)
        for name in dict.fromkeys((*needs, *schemas)):
            brought = Case("object", Objects(required=(name, *needs.get(name, ()))))
            there: Cases = (brought,)
            if name in schemas:
                there = self._both(there, self._of(schemas[name], outer))
            if there == (Case("object", Objects(required=(name,))),):
                continue
            if outer:
                return loosened(cases)
            absent = Case("object", Objects(banned=frozenset({name})))
            others = tuple(case for case in cases if case.kind != "object")
            objects = tuple(case for case in cases if case.kind == "object")
            cases = self._limited((*others, *self._both(objects, (absent, *there))))
        return cases

    def _unevaluated(self, node: Node, cases: Cases, outer: bool) -> Cases:
        """Restrict the properties and items that no other keyword evaluates."""
        return closed(self.document, node, cases, outer)

    def _both(self, left: Cases, right: Cases, node: Node | None = None) -> Cases:
        """Return the cases of the values that are in both unions of cases."""
        if left == _ALL:
            return right
        if right == _ALL:
            return left
        made = []
        for case in left:
            for other in right:
                if case.kind != other.kind:
                    continue
                self._work += 1
                try:
                    made.append(merged(case, other))
                except Empty as empty:
                    if node is not None:
                        node.note(str(empty))
        if self._work > _MAX_WORK:
            raise Refused(TOO_COMPLEX)
        if not made and node is not None:
            node.note("its parts leave no value that all of them allow")
        return self._limited(tidy(made))

    @staticmethod
    def _limited(cases: Cases) -> Cases:
        if len(cases) > _MAX_CASES:
            raise Refused(TOO_COMPLEX)
        return cases


_ALL: Cases = tuple(ANY.values())

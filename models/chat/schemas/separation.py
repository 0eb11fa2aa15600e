"""Differences of cases: a case without the values of other cases.

They are used for ``oneOf``, ``not`` and ``if``. If a difference cannot be expressed as cases, a
subset of it is used: an object without a property that the other case requires, or with a
property whose values are different. If there is none, the case has ``trouble``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from models.chat.schemas.cases import Case, Empty, checked
from models.chat.schemas.document import Document, Node
from models.chat.schemas.fitting import Fitting, Taken
from models.chat.schemas.shapes import Arrays, Numbers, Objects, Properties, Strings
from models.chat.schemas.values import Value

Cases = Sequence[Case]
_MAX_DEPTH = 4  # levels of properties that are compared


class Separation:
    """Computes differences of cases.

    Args:
        document: the document of the schemas.
        expansion: expands them.
    """

    def __init__(self, document: Document, expansion: Taken) -> None:
        self._document = document
        self._expansion = expansion
        self._fitting = Fitting(expansion, outer=True)
        self._disjoint: dict[tuple[frozenset[Node], frozenset[Node]], bool] = {}

    def apart(self, case: Case, others: Sequence[Cases], trouble: str) -> list[Case]:
        """Return a case without the values of others.

        Args:
            case: an inner case.
            others: unions of outer cases, which contain all values to exclude.
            trouble: the ``trouble`` of the result if the difference cannot be expressed.
        """
        left = [case]
        for union in others:
            for other in union:
                if other.kind == case.kind:
                    left = [part for rest in left for part in self._without(rest, other, trouble)]
        return left

    def _without(self, case: Case, other: Case, trouble: str) -> list[Case]:
        if case.values is not None:
            return self._values_without(case, other, trouble)
        if self._are_disjoint(case, other, _MAX_DEPTH):
            return [case]
        parts: list[Case] | None = None
        if isinstance(case.shape, Objects) and isinstance(other.shape, Objects):
            parts = self._objects_without(case, case.shape, other.shape)
        elif isinstance(case.shape, Arrays) and isinstance(other.shape, Arrays):
            parts = self._arrays_without(case, case.shape, other.shape)
        if parts is not None:
            return parts
        if not other.loose and not other.trouble and _contains(other, case):
            return []
        return [replace(case, trouble=case.trouble or trouble)]

    def _values_without(self, case: Case, other: Case, trouble: str) -> list[Case]:
        kept: list[Value] = []
        for value in case.values or ():
            fits = self._fitting.case(other, value.raw)
            if fits is None:
                return [replace(case, trouble=case.trouble or trouble)]
            if not fits:
                kept.append(value)
        return [replace(case, values=tuple(kept))] if kept else []

    def _arrays_without(self, case: Case, own: Arrays, other: Arrays) -> list[Case] | None:
        """Return arrays with an item, if that is different: an empty array matches both cases."""
        if own.most == 0 or not self._are_apart(own.item(0), other.item(0), _MAX_DEPTH):
            return None
        return [replace(case, shape=replace(own, least=max(own.least, 1)))]

    def _objects_without(self, case: Case, own: Objects, other: Objects) -> list[Case] | None:
        known = dict.fromkeys(own.names())
        absent = [name for name in other.required if name not in own.required]
        shared = [name for name in other.names() if name in known and name not in own.banned]
        telling = [
            name
            for name in shared
            if self._are_apart(own.property(name), other.property(name), _MAX_DEPTH)
            and self._expansion.cases(own.property(name), outer=True)
        ]
        telling.sort(key=lambda name: self._listed(own.property(name)) is None)
        unknown = [name for name in absent if name not in known]
        if telling and (self._listed(own.property(telling[0])) or not unknown):
            needed = [_requiring(case, own, telling[0])]
            return needed + ([_banning(case, own, telling[0])] if telling[0] in absent else [])
        if unknown:
            return [_banning(case, own, unknown[0])]
        for name in shared:
            if (parts := self._split(case, own, other, name)) is not None:
                return parts
        return [_banning(case, own, absent[0])] if absent else None

    def _split(self, case: Case, own: Objects, other: Objects, name: str) -> list[Case] | None:
        """Split a case by the values of a property, some of which exclude the other case."""
        values = self._listed(own.property(name))
        if not values:
            return None
        fits = [(v, self._fitting.all(other.property(name), v.raw)) for v in values]
        kept = [value.raw for value, fit in fits if fit is False]
        if not kept:
            return None
        near = own.property(name)[0]
        held = Properties({name: self._document.made(near, {"enum": kept})})
        narrow = replace(own, properties=(*own.properties, held))
        parts = [_requiring(case, narrow, name)]
        if name in other.required and name not in own.required:
            parts.append(_banning(case, own, name))
        return parts

    def _listed(self, nodes: Sequence[Node]) -> tuple[Value, ...] | None:
        """Return the values of a property whose schema lists them, None otherwise."""
        if not nodes:
            return None
        cases = self._expansion.cases(nodes, outer=True)
        if any(case.values is None for case in cases):
            return None
        return tuple(value for case in cases for value in case.values or ())

    def _are_apart(self, left: Sequence[Node], right: Sequence[Node], depth: int) -> bool:
        """Whether it is certain that no value is valid by both."""
        if depth == 0:
            return False
        key = frozenset(left), frozenset(right)
        if key not in self._disjoint:
            of_left, of_right = (self._expansion.cases(n, outer=True) for n in (left, right))
            self._disjoint[key] = all(
                self._are_disjoint(first, second, depth - 1)
                for first in of_left
                for second in of_right
            )
        return self._disjoint[key]

    def _are_disjoint(self, one: Case, other: Case, depth: int) -> bool:
        """Whether it is certain that no value matches both cases."""
        if one.kind != other.kind:
            return True
        if one.values is not None or other.values is not None:
            listed, rest = (one, other) if one.values is not None else (other, one)
            values = listed.values or ()
            return all(self._fitting.case(rest, value.raw) is False for value in values)
        left, right = one.shape, other.shape
        if isinstance(left, Objects) and isinstance(right, Objects):
            return self._differ(left, right, depth)
        if isinstance(left, Arrays) and isinstance(right, Arrays):
            if left.merged(right).contradiction():
                return True
            sure = range(min(max(left.least, right.least), max(left.front, right.front, 1)))
            return any(self._are_apart(left.item(at), right.item(at), depth) for at in sure)
        plain = isinstance(left, Numbers | Strings)
        return plain and left.merged(right).contradiction() is not None  # type: ignore[union-attr, arg-type]

    def _differ(self, left: Objects, right: Objects, depth: int) -> bool:
        """Whether a required property certainly has different values in two objects."""
        if left.merged(right).contradiction():
            return True
        sure = dict.fromkeys((*left.required, *right.required))
        return any(
            self._are_apart(left.property(name), right.property(name), depth) for name in sure
        )


def _requiring(case: Case, shape: Objects, name: str) -> Case:
    required = shape.required if name in shape.required else (*shape.required, name)
    return replace(case, shape=replace(shape, required=required))


def _banning(case: Case, shape: Objects, name: str) -> Case:
    return replace(case, shape=replace(shape, banned=shape.banned | {name}))


def _contains(other: Case, case: Case) -> bool:
    """Whether it is certain that every value of ``case`` matches ``other``."""
    if other.values is not None:
        return False
    if other.shape is None or case.shape is None:
        return True
    try:
        both = checked(replace(case, shape=case.shape.merged(other.shape)))  # type: ignore[arg-type]
    except Empty:
        return False
    return both.shape == case.shape

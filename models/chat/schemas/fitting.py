"""Whether a given value matches a case, for the values of ``enum`` and ``const``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from models.chat.schemas.cases import Case
from models.chat.schemas.document import Node
from models.chat.schemas.patterns import matches
from models.chat.schemas.shapes import Arrays, Objects
from models.chat.schemas.values import Value, kind_of

Fits = bool | None  # None: unknown


class Taken(Protocol):
    """Expands schemas; see ``Expansion``."""

    def cases(self, nodes: Sequence[Node], *, outer: bool = False) -> Sequence[Case]:
        """Return the cases of the values that are valid by all schemas."""


class Fitting:
    """Decides whether values match.

    Args:
        expansion: expands schemas.
        outer: whether to use the outer cases, which contain all valid values.
    """

    def __init__(self, expansion: Taken, *, outer: bool) -> None:
        self._expansion = expansion
        self._outer = outer

    def all(self, nodes: Sequence[Node], raw: Any) -> Fits:
        """Whether a value is valid by all schemas."""
        kind = kind_of(raw)
        cases = self._expansion.cases(nodes, outer=self._outer)
        return _any(self.case(case, raw) for case in cases if case.kind == kind)

    def case(self, case: Case, raw: Any) -> Fits:
        """Whether a value of a case's type matches the case."""
        if case.values is not None and Value.of(raw) not in case.values:
            return False
        fits: Fits = True
        if isinstance(case.shape, Arrays):
            fits = self._array(case.shape, raw)
        elif isinstance(case.shape, Objects):
            fits = self._object(case.shape, raw)
        elif case.shape is not None:
            fits = case.shape.takes(raw)
        return None if fits and (case.loose or case.trouble) else fits

    def _array(self, shape: Arrays, raw: list[Any]) -> Fits:
        if len(raw) < shape.least or (shape.most is not None and len(raw) > shape.most):
            return False
        if shape.unique and len(set(map(Value.of, raw))) < len(raw):
            return False
        items = (self.all(shape.item(at), item) for at, item in enumerate(raw))
        return _all((*items, *(self._contains(contain, raw) for contain in shape.contains)))

    def _contains(self, contained: Any, raw: list[Any]) -> Fits:
        fits = [self.all([contained.node], item) for item in raw]
        least, most = fits.count(True), len(fits) - fits.count(False)
        if most < contained.least or (contained.most is not None and least > contained.most):
            return False
        sure = least >= contained.least and (contained.most is None or most <= contained.most)
        return True if sure else None

    def _object(self, shape: Objects, raw: dict[str, Any]) -> Fits:
        if len(raw) < shape.least or (shape.most is not None and len(raw) > shape.most):
            return False
        if not raw.keys() >= set(shape.required) or not shape.banned.isdisjoint(raw):
            return False
        keys = [property_.keys for property_ in shape.properties if property_.keys is not None]
        unsure = any(
            matches(pattern, name) is None
            for property_ in shape.properties
            for pattern, _ in property_.patterns
            for name in raw
        )
        fits = _all((
            *(self.all(shape.property(name), value) for name, value in raw.items()),
            *(self.all(keys, name) for name in raw if keys),
        ))  # fmt: skip
        return None if unsure else fits


def _all(fits: Iterable[Fits]) -> Fits:
    given = list(fits)
    return False if False in given else None if None in given else True


def _any(fits: Iterable[Fits]) -> Fits:
    given = list(fits)
    return True if True in given else None if None in given else False

"""Cases: the constraints of schemas that apply together, on values of one type.

A schema is expanded into cases; a value is valid if it matches one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from models.chat.schemas.shapes import Arrays, Numbers, Objects, Shape, Strings
from models.chat.schemas.values import Value


@dataclass(frozen=True)
class Case:
    """A set of values of one type.

    Attributes:
        kind: the type.
        shape: the constraints; None for null and booleans.
        values: the only values allowed; None = any.
        loose: whether some values may be invalid, because a constraint could not be expressed.
        trouble: why answers cannot be restricted to this case; None if they can.
    """

    kind: str
    shape: Shape | None = None
    values: tuple[Value, ...] | None = None
    loose: bool = False
    trouble: str | None = None

    @property
    def free(self) -> bool:
        """Whether every value of the type matches."""
        return self == ANY[self.kind]


class Empty(Exception):
    """No value matches; the message says why."""


def merged(left: Case, right: Case) -> Case:
    """Return the case of the values that match both cases, which are of one type.

    Raises:
        Empty: there is no such value.
    """
    values = left.values
    if right.values is not None:
        given = frozenset(right.values)
        values = right.values if values is None else tuple(v for v in values if v in given)
    shape: Shape | None = left.shape
    if shape is not None:
        shape = shape.merged(right.shape)  # type: ignore[arg-type]  # both are of one type
    case = Case(left.kind, shape, values, left.loose or right.loose, left.trouble or right.trouble)
    return checked(case)


def checked(case: Case) -> Case:
    """Return a case without listed values that clearly do not match.

    Raises:
        Empty: no value is left.
    """
    if case.shape is not None and (reason := case.shape.contradiction()):
        raise Empty(reason)
    values = case.values
    if values is not None and isinstance(case.shape, Numbers | Strings):
        values = tuple(value for value in values if case.shape.takes(value.raw) is not False)
    if values == ():
        raise Empty("no value of enum fits the other keywords")
    return replace(case, values=values)


ANY = {
    "null": Case("null", None, (Value.of(None),)),
    "boolean": Case("boolean", None, (Value.of(False), Value.of(True))),
    "number": Case("number", Numbers()),
    "string": Case("string", Strings()),
    "array": Case("array", Arrays()),
    "object": Case("object", Objects()),
}

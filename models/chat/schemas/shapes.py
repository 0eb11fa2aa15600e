"""The constraints of schemas on values of one type, and how to merge them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from models.chat.schemas.document import Node
from models.chat.schemas.patterns import matches
from models.chat.schemas.values import exact


@dataclass(frozen=True)
class Numbers:
    """Numbers between two bounds.

    Attributes:
        integer: whether only integers are allowed.
        low, high: a bound, and whether it is exclusive.
        multiples: numbers must be multiples of all of these.
        keyword: the error about ``multipleOf``, if it turns out not to be supported.
    """

    integer: bool = False
    low: tuple[Fraction, bool] | None = None
    high: tuple[Fraction, bool] | None = None
    multiples: tuple[Fraction, ...] = ()
    keyword: str | None = None

    def merged(self, other: Numbers) -> Numbers:
        """Return the constraints of both."""
        lows = [bound for bound in (self.low, other.low) if bound is not None]
        highs = [bound for bound in (self.high, other.high) if bound is not None]
        return Numbers(
            self.integer or other.integer,
            max(lows, default=None),
            min(highs, key=lambda bound: (bound[0], not bound[1]), default=None),
            _both(self.multiples, other.multiples),
            self.keyword or other.keyword,
        )

    def contradiction(self) -> str | None:
        """Return why no number matches, None if one does."""
        if self.low is None or self.high is None or self.low[0] < self.high[0]:
            return None
        if self.low[0] == self.high[0] and not (self.low[1] or self.high[1]):
            return None
        return (
            f"minimum {float(self.low[0]):g} leaves nothing below maximum {float(self.high[0]):g}"
        )

    def takes(self, raw: Any) -> bool:
        """Whether a number matches."""
        value = exact(raw)
        return (
            not (self.integer and value.denominator != 1)
            and not (self.low and (value < self.low[0] or self.low == (value, True)))
            and not (self.high and (value > self.high[0] or self.high == (value, True)))
            and all((value / multiple).denominator == 1 for multiple in self.multiples)
        )


@dataclass(frozen=True)
class Pattern:
    """A pattern or a format of a string.

    Attributes:
        source: the client's pattern, or the format's name.
        is_format: whether it is a format, which validators need not check.
        node: the schema that has it; it is ignored in comparisons.
    """

    source: str
    is_format: bool = False
    node: Node | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Strings:
    """Strings with a length in characters, that match all patterns."""

    least: int = 0
    most: int | None = None
    patterns: tuple[Pattern, ...] = ()

    def merged(self, other: Strings) -> Strings:
        """Return the constraints of both."""
        patterns = _both(self.patterns, other.patterns)
        return Strings(max(self.least, other.least), _less(self.most, other.most), patterns)

    def contradiction(self) -> str | None:
        """Return why no string matches, None if one may."""
        if self.most is None or self.least <= self.most:
            return None
        return f"minLength {self.least} is more than maxLength {self.most}"

    def takes(self, raw: str) -> bool | None:
        """Whether a string matches; None if only llguidance can tell."""
        if not self.least <= len(raw) <= (len(raw) if self.most is None else self.most):
            return False
        found = [matches(pattern.source, raw) for pattern in self.patterns if not pattern.is_format]
        return False if False in found else None if None in found else True


@dataclass(frozen=True, eq=False)
class Items:
    """The constraints of one schema on an array's items: the first ones, and the rest."""

    front: tuple[Node, ...] = ()
    rest: Node | None = None


@dataclass(frozen=True)
class Contained:
    """Items that an array must contain, and how many; ``keyword`` is the error about it."""

    node: Node
    least: int
    most: int | None
    keyword: str


@dataclass(frozen=True)
class Arrays:
    """Arrays with a length.

    Attributes:
        items: the constraints of each schema on the items.
        contains: the ``contains`` constraint of each schema.
        unique: the error about ``uniqueItems``, None if items may be equal.
    """

    items: tuple[Items, ...] = ()
    least: int = 0
    most: int | None = None
    contains: tuple[Contained, ...] = ()
    unique: str | None = None

    def merged(self, other: Arrays) -> Arrays:
        """Return the constraints of both."""
        return Arrays(
            _both(self.items, other.items),
            max(self.least, other.least),
            _less(self.most, other.most),
            _both(self.contains, other.contains),
            self.unique or other.unique,
        )

    def contradiction(self) -> str | None:
        """Return why no array matches, None if one may."""
        if self.most is None or self.least <= self.most:
            return None
        return f"minItems {self.least} is more than maxItems {self.most}"

    def item(self, at: int) -> tuple[Node, ...]:
        """Return the schemas of the item at an index."""
        own = [item.front[at] if at < len(item.front) else item.rest for item in self.items]
        return tuple(dict.fromkeys(node for node in own if node is not None))

    @property
    def front(self) -> int:
        """The number of first items that have their own schemas."""
        return max((len(item.front) for item in self.items), default=0)


@dataclass(frozen=True, eq=False)
class Properties:
    """The constraints of one schema on an object's properties.

    Attributes:
        names: the schemas of named properties.
        patterns: the schemas of properties whose names match a pattern.
        rest: the schema of the other properties.
        says: whether a keyword applies to other properties (``additionalProperties``, for example).
        lists: whether it has ``properties``, even an empty one.
        keys: the schema of every property's name.
    """

    names: Mapping[str, Node] = field(default_factory=dict)
    patterns: tuple[tuple[str, Node], ...] = ()
    rest: Node | None = None
    says: bool = False
    lists: bool = False
    keys: Node | None = None


@dataclass(frozen=True)
class Objects:
    """Objects.

    Attributes:
        properties: the constraints of each schema on properties.
        required: the names of required properties.
        banned: the names of forbidden properties.
        least, most: the number of properties.
        counted: the error about the keyword that limits their number, None without one.
    """

    properties: tuple[Properties, ...] = ()
    required: tuple[str, ...] = ()
    banned: frozenset[str] = frozenset()
    least: int = 0
    most: int | None = None
    counted: str | None = None

    def merged(self, other: Objects) -> Objects:
        """Return the constraints of both."""
        return Objects(
            _both(self.properties, other.properties),
            _both(self.required, other.required),
            self.banned | other.banned,
            max(self.least, other.least),
            _less(self.most, other.most),
            self.counted or other.counted,
        )

    def contradiction(self) -> str | None:
        """Return why no object matches, None if one may."""
        if missing := next((name for name in self.required if name in self.banned), None):
            return f"the property {missing!r} is required and ruled out"
        if self.most is not None and max(self.least, len(self.required)) > self.most:
            return f"there are more properties required than maxProperties, {self.most}"
        return None

    def names(self) -> Iterator[str]:
        """Yield the names of properties that schemas list, then those that are required."""
        yield from dict.fromkeys([
            *(name for property_ in self.properties for name in property_.names), *self.required
        ])  # fmt: skip

    def property(self, name: str) -> tuple[Node, ...]:
        """Return the schemas of a property.

        If Python cannot tell whether a pattern matches, the property must be valid either way.
        """
        made: list[Node] = []
        for property_ in self.properties:
            found = [(matches(pattern, name), node) for pattern, node in property_.patterns]
            if name in property_.names:
                made.append(property_.names[name])
            made += [node for match, node in found if match is not False]
            known = name in property_.names or any(match is True for match, _ in found)
            if property_.rest is not None and not known:
                made.append(property_.rest)
        return tuple(dict.fromkeys(made))


Shape = Numbers | Strings | Arrays | Objects


def _both(left: tuple[Any, ...], right: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys((*left, *right)))


def _less(left: int | None, right: int | None) -> int | None:
    return min((bound for bound in (left, right) if bound is not None), default=None)

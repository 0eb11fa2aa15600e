"""What schemas ask of values of one type, and how two such demands go together."""

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
        integer: whether they are whole.
        low, high: a bound, and whether it is left out itself.
        multiples: what they are multiples of, all of them.
        keyword: the refusal of ``multipleOf``, should it not be possible to hold it.
    """

    integer: bool = False
    low: tuple[Fraction, bool] | None = None
    high: tuple[Fraction, bool] | None = None
    multiples: tuple[Fraction, ...] = ()
    keyword: str | None = None

    def merged(self, other: Numbers) -> Numbers:
        """Return what fits both."""
        lows = [one for one in (self.low, other.low) if one is not None]
        highs = [one for one in (self.high, other.high) if one is not None]
        return Numbers(
            self.integer or other.integer,
            max(lows, default=None),
            min(highs, key=lambda bound: (bound[0], not bound[1]), default=None),
            _both(self.multiples, other.multiples),
            self.keyword or other.keyword,
        )

    def contradiction(self) -> str | None:
        """Return why no number fits, None where one does."""
        if self.low is None or self.high is None or self.low[0] < self.high[0]:
            return None
        if self.low[0] == self.high[0] and not (self.low[1] or self.high[1]):
            return None
        return (
            f"minimum {float(self.low[0]):g} leaves nothing below maximum {float(self.high[0]):g}"
        )

    def takes(self, raw: Any) -> bool:
        """Say whether a number fits."""
        value = exact(raw)
        return (
            not (self.integer and value.denominator != 1)
            and not (self.low and (value < self.low[0] or self.low == (value, True)))
            and not (self.high and (value > self.high[0] or self.high == (value, True)))
            and all((value / multiple).denominator == 1 for multiple in self.multiples)
        )


@dataclass(frozen=True)
class Pattern:
    """A pattern of a text, or its format.

    Attributes:
        source: the client's.
        is_format: whether it is a format, which JSON Schema holds nobody to.
        node: where it stands; of equal patterns any.
    """

    source: str
    is_format: bool = False
    node: Node | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Strings:
    """Texts of a length, in characters, that match all patterns."""

    least: int = 0
    most: int | None = None
    patterns: tuple[Pattern, ...] = ()

    def merged(self, other: Strings) -> Strings:
        """Return what fits both."""
        patterns = _both(self.patterns, other.patterns)
        return Strings(max(self.least, other.least), _less(self.most, other.most), patterns)

    def contradiction(self) -> str | None:
        """Return why no text fits, None where one may."""
        if self.most is None or self.least <= self.most:
            return None
        return f"minLength {self.least} is more than maxLength {self.most}"

    def takes(self, raw: str) -> bool | None:
        """Say whether a text fits; None where only llguidance can tell."""
        if not self.least <= len(raw) <= (len(raw) if self.most is None else self.most):
            return False
        found = [matches(pattern.source, raw) for pattern in self.patterns if not pattern.is_format]
        return False if False in found else None if None in found else True


@dataclass(frozen=True, eq=False)
class Items:
    """What one schema asks of an array's items: those in front, and the rest."""

    front: tuple[Node, ...] = ()
    rest: Node | None = None


@dataclass(frozen=True)
class Contained:
    """Items that an array contains, and how many of them; ``keyword`` is the refusal."""

    node: Node
    least: int
    most: int | None
    keyword: str


@dataclass(frozen=True)
class Arrays:
    """Arrays of a length.

    Attributes:
        items: what each schema asks of items.
        contains: what each schema asks of some of them.
        unique: the refusal of ``uniqueItems``, None where items may be equal.
    """

    items: tuple[Items, ...] = ()
    least: int = 0
    most: int | None = None
    contains: tuple[Contained, ...] = ()
    unique: str | None = None

    def merged(self, other: Arrays) -> Arrays:
        """Return what fits both."""
        return Arrays(
            _both(self.items, other.items),
            max(self.least, other.least),
            _less(self.most, other.most),
            _both(self.contains, other.contains),
            self.unique or other.unique,
        )

    def contradiction(self) -> str | None:
        """Return why no array fits, None where one may."""
        if self.most is None or self.least <= self.most:
            return None
        return f"minItems {self.least} is more than maxItems {self.most}"

    def item(self, at: int) -> tuple[Node, ...]:
        """Return the schemas of the item at a place."""
        own = [item.front[at] if at < len(item.front) else item.rest for item in self.items]
        return tuple(dict.fromkeys(node for node in own if node is not None))

    @property
    def front(self) -> int:
        """How many places have schemas of their own."""
        return max((len(item.front) for item in self.items), default=0)


@dataclass(frozen=True, eq=False)
class Properties:
    """What one schema asks of an object's properties.

    Attributes:
        names: those that it names.
        patterns: those whose names match.
        rest: the others.
        says: whether it says anything of others (``additionalProperties`` and its like).
        lists: whether it lists names, be it none.
        keys: what it asks of every name.
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
        properties: what each schema asks of properties.
        required: names that must be there.
        banned: names that must not.
        least, most: how many properties there are.
        counted: the refusal of the keyword that says so, None where none does.
    """

    properties: tuple[Properties, ...] = ()
    required: tuple[str, ...] = ()
    banned: frozenset[str] = frozenset()
    least: int = 0
    most: int | None = None
    counted: str | None = None

    def merged(self, other: Objects) -> Objects:
        """Return what fits both."""
        return Objects(
            _both(self.properties, other.properties),
            _both(self.required, other.required),
            self.banned | other.banned,
            max(self.least, other.least),
            _less(self.most, other.most),
            self.counted or other.counted,
        )

    def contradiction(self) -> str | None:
        """Return why no object fits, None where one may."""
        if missing := next((name for name in self.required if name in self.banned), None):
            return f"the property {missing!r} is required and ruled out"
        if self.most is not None and max(self.least, len(self.required)) > self.most:
            return f"there are more properties required than maxProperties, {self.most}"
        return None

    def names(self) -> Iterator[str]:
        """Yield the names of properties that a schema names, then those that are required."""
        yield from dict.fromkeys([
            *(name for property_ in self.properties for name in property_.names), *self.required
        ])  # fmt: skip

    def property(self, name: str) -> tuple[Node, ...]:
        """Return the schemas of a property.

        Where Python cannot tell whether a pattern matches, it must fit as if it did, and as if not.
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
    return min((one for one in (left, right) if one is not None), default=None)

"""Cases in a form that llguidance can enforce exactly.

The names of an object's properties are listed, or match a pattern. If any other name is allowed,
llguidance allows an escape that repeats a listed name (a backslash and u0061 for "a"). It does not
if names match a pattern, so a pattern is used for other names.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

from models.chat.schemas.document import Node
from models.chat.schemas.expansion import Expansion
from models.chat.schemas.limits import MAX_PATTERNS, Refused
from models.chat.schemas.names import ANY_NAME, none_of
from models.chat.schemas.patterns import matches, translated
from models.chat.schemas.shapes import Arrays, Objects, Strings

Nodes = tuple[Node, ...]

_MAX_CHOICES = 64  # combinations of properties, if their number is limited


@dataclass(frozen=True)
class ArrayForm:
    """An array: the schemas of its first items and of the rest, and the number of items."""

    front: tuple[Nodes, ...]
    rest: Nodes
    least: int
    most: int | None


@dataclass(frozen=True)
class ObjectForm:
    """An object.

    Attributes:
        names: the schemas of each property, None if it is forbidden.
        required: the names of required properties.
        patterns: regular expressions of other names, and their schemas.
        least, most: the number of properties with other names.
    """

    names: dict[str, Nodes | None]
    required: frozenset[str]
    patterns: tuple[tuple[str, Nodes], ...] = ()
    least: int = 0
    most: int | None = None


class Forms:
    """Makes forms of the constraints on arrays and objects.

    Args:
        expansion: expands schemas.
        closed: whether an object that lists properties has no others, unless a schema allows them.
    """

    def __init__(self, expansion: Expansion, *, closed: bool) -> None:
        self._expansion = expansion
        self._closed = closed

    def array(self, shape: Arrays) -> ArrayForm:
        """Return the form of an array.

        Raises:
            Refused: the constraints are not supported.
        """
        if shape.unique and (shape.most is None or shape.most > 1):
            raise Refused(shape.unique)
        front, rest = [shape.item(at) for at in range(shape.front)], shape.item(shape.front)
        least = shape.least
        for contain in shape.contains:
            # Items that it must contain follow those with their own schemas.
            front += [(*rest, contain.node)] * contain.least
            least = max(least, len(front))
            if contain.most is not None or (shape.most is not None and least > shape.most):
                raise Refused(contain.keyword)
        return ArrayForm(tuple(front), rest, least, shape.most)

    def objects(self, shape: Objects) -> Iterator[ObjectForm]:
        """Yield forms of an object; all of their values are valid.

        Raises:
            Refused: the constraints are not supported.
        """
        form = self._named(shape)
        if shape.counted is None:
            yield form
            return
        optional = [n for n, nodes in form.names.items() if nodes and n not in form.required]
        least, most = shape.least - len(form.required), shape.most
        if most is not None and not form.patterns and len(form.required) + len(optional) <= most:
            most = None
        if least <= 0 and most is None:
            yield form
        elif least == 1 and most is None:
            yield from _with_one(form, optional)
        else:
            yield from _counted(form, optional, least, most, shape.counted)

    def _named(self, shape: Objects) -> ObjectForm:
        """Return the form of an object with any number of properties."""
        keys = tuple(property_.keys for property_ in shape.properties if property_.keys is not None)
        others = self._others(shape)
        listed = self._listed(keys) if keys else None
        more = listed if others and listed else ()
        names: dict[str, Nodes | None] = {}
        for name in dict.fromkeys((*shape.names(), *more, *sorted(shape.banned))):
            allowed = name not in shape.banned and self._allows(keys, name)
            names[name] = shape.property(name) if allowed else None
        form = ObjectForm(names, frozenset(shape.required))
        if not others or listed is not None:
            return form
        sources = dict.fromkeys(
            source for property_ in shape.properties for source, _ in property_.patterns
        )
        if sources:
            return replace(form, patterns=self._patterned(shape, list(sources), keys))
        rest = tuple(property_.rest for property_ in shape.properties if property_.rest is not None)
        return replace(form, patterns=self._rest(form, rest, keys))

    def _others(self, shape: Objects) -> bool:
        """Whether names other than the listed ones are allowed."""
        listed = any(property_.lists for property_ in shape.properties)
        if self._closed and listed and not any(property_.says for property_ in shape.properties):
            return False
        return not any(
            property_.rest is not None and property_.rest.schema is False and not property_.patterns
            for property_ in shape.properties
        )

    def _allows(self, keys: Nodes, name: str) -> bool:
        return not keys or self._expansion.fits(keys, name) is True

    def _listed(self, keys: Nodes) -> list[str] | None:
        """Return the names that ``propertyNames`` lists, None if it lists none."""
        cases = [case for case in self._expansion.cases(keys) if case.kind == "string"]
        if any(case.values is None for case in cases):
            return None
        return [str(value.raw) for case in cases for value in case.values or ()]

    def _patterned(
        self, shape: Objects, sources: list[str], keys: Nodes
    ) -> tuple[tuple[str, Nodes], ...]:
        """Return the patterns of names and their schemas, without names that match none."""
        if keys and self._key_pattern(keys) is not None:
            raise Refused(keys[0].not_held())
        if len(sources) > MAX_PATTERNS:
            raise Refused(
                f"{len(sources)} patternProperties apply together; at most {MAX_PATTERNS}"
            )
        made: dict[str, list[Node]] = {source: [] for source in sources}
        for property_ in shape.properties:
            own = dict(property_.patterns)
            for source, nodes in made.items():
                if (node := own.get(source, property_.rest)) is not None:
                    nodes.append(node)
        return tuple(
            (_single(source, nodes[0]), tuple(dict.fromkeys(nodes)))
            for source, nodes in made.items()
        )

    def _rest(self, form: ObjectForm, rest: Nodes, keys: Nodes) -> tuple[tuple[str, Nodes], ...]:
        """Return the pattern of all names that are not listed."""
        pattern = self._key_pattern(keys) if keys else None
        if not form.names or self._expansion.asks_nothing(rest):
            return ((pattern or ANY_NAME, rest),)
        # llguidance applies the schemas of matching patterns to listed names, too.
        if pattern is None:
            beside = none_of(form.names)
            return () if beside is None else ((beside, rest),)
        taken = any(matches(pattern, name) is not False for name in form.names)
        return () if taken else ((pattern, rest),)

    def _key_pattern(self, keys: Nodes) -> str | None:
        """Return ``propertyNames`` as a pattern, None if it allows any name.

        Raises:
            Refused: it cannot be written as a pattern.
        """
        cases = [case for case in self._expansion.cases(keys) if case.kind == "string"]
        if any(case.free for case in cases):
            return None
        shape = cases[0].shape if len(cases) == 1 else None
        if not isinstance(shape, Strings) or cases[0].values or cases[0].trouble:
            raise Refused(keys[0].not_held())
        if not shape.patterns:
            most = "" if shape.most is None else shape.most
            return f"^(?s:.{{{shape.least},{most}}})$"
        [first, *more] = shape.patterns
        if more or first.is_format or shape.least or shape.most is not None:
            raise Refused(keys[0].not_held())
        return _single(first.source, keys[0])


def _single(source: str, node: Node) -> str:
    made = translated(source)
    if len(made) > 1:
        raise node.refused("look-around is not supported in patterns of names")
    return made[0]


def _with_one(form: ObjectForm, optional: list[str]) -> Iterator[ObjectForm]:
    """Yield the forms of an object with at least one more property than required."""
    for at, name in enumerate(optional):
        names = {**form.names, **dict.fromkeys(optional[:at])}
        yield replace(form, names=names, required=form.required | {name})
    if form.patterns:
        yield replace(form, names={**form.names, **dict.fromkeys(optional)}, least=1)


def _counted(
    form: ObjectForm, optional: list[str], least: int, most: int | None, keyword: str
) -> Iterator[ObjectForm]:
    """Yield the forms of an object with a limited number of properties.

    Names that are not listed may be repeated, so only one of them counts towards the minimum.
    """
    free = len(optional) if most is None else most - len(form.required)
    fewest = max(0, least - 1 if form.patterns else least)
    sizes = range(fewest, min(len(optional), free) + 1)
    if sum(comb(len(optional), size) for size in sizes) > _MAX_CHOICES or not sizes:
        raise Refused(keyword)
    for size in sizes:
        for chosen in combinations(optional, size):
            left_out = [name for name in optional if name not in chosen]
            yield replace(
                form,
                names={**form.names, **dict.fromkeys(left_out)},
                required=form.required | set(chosen),
                least=max(0, least - size),
                most=None if most is None else free - size,
            )

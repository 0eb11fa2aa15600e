"""Emit a client's schema as one that llguidance enforces exactly.

The emitted schema has types, ``anyOf``, references and the keywords of single types; all other
applicators are expanded before. Each set of schemas that apply together becomes a definition.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from models.chat.request import TOO_COMPLEX
from models.chat.schemas.cases import ANY, Case, Empty
from models.chat.schemas.children import Form, children_of, is_plain, item_of
from models.chat.schemas.document import Document, Node
from models.chat.schemas.expansion import Expansion
from models.chat.schemas.forms import ArrayForm, Forms, Nodes, ObjectForm
from models.chat.schemas.limits import Refused, pointer
from models.chat.schemas.names import ANY_NAME
from models.chat.schemas.numbers import bounds
from models.chat.schemas.shapes import Arrays, Numbers, Objects, Strings
from models.chat.schemas.strings import string_schema

_MAX_DEFINITIONS = 4000
_EXACT = 2**53  # not every integer beyond is a floating-point number
# llguidance does not limit flexible white space, but separators may have patterns with a limit.
SPACE = r"[ \n\r\t]{0,20}"
_OPTIONS = {
    "whitespace_flexible": False,
    "item_separator": f",{SPACE}",
    "key_separator": f":{SPACE}",
}

Key = frozenset[Node]


@dataclass
class Held:
    """A schema that llguidance can enforce.

    Attributes:
        schema: the schema.
        patterns: every regular expression in it, and its place in the client's schema.
        sources: the place in the client's schema of each definition.
    """

    schema: dict[str, Any]
    patterns: dict[str, str] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)


def held(schema: dict[str, Any], *, closed: bool = False) -> Held:
    """Return a schema for llguidance; every value of it is valid by the client's.

    Args:
        schema: the client's schema.
        closed: whether an object that lists properties has no others, unless a schema allows them.

    Raises:
        Refused: answers cannot be restricted to the schema.
    """
    return _Emission(Document(schema), closed=closed).run()


class _Emission:
    def __init__(self, document: Document, *, closed: bool) -> None:
        self._document = document
        self._expansion = Expansion(document)
        self._forms = Forms(self._expansion, closed=closed)
        self._made: dict[Key, list[Form]] = {}
        self._names: dict[Key, str] = {}
        self._referred: dict[str, Key] = {}  # definitions that are referred to, by name
        self._alive: set[Key] = set()  # sets of schemas that have a finite value
        self._dead: set[Key] = set()  # sets of schemas that have none
        self._patterns: dict[str, str] = {}

    def run(self) -> Held:
        root = self._collect((self._document.root,))
        self._bury()
        if root in self._dead:
            raise Refused(self._document.empty() or "it has no finite value")
        schema = self._schema(root) if root in self._made else {}
        definitions: dict[str, Any] = {}
        while missing := self._referred.keys() - definitions.keys():
            definitions |= {name: self._schema(self._referred[name]) for name in sorted(missing)}
        schema = {**schema, "$defs": definitions, "x-guidance": _OPTIONS}
        sources = {
            self._names[key]: pointer(min((node.path for node in key), key=len))
            for key in self._made
        }
        return Held(schema, self._patterns, sources)

    def _collect(self, root: Nodes) -> Key:
        """Expand all schemas that can be reached."""
        waiting = [root]
        while waiting:
            nodes = self._expansion.plain(waiting.pop())
            key = frozenset(nodes)
            if key in self._made or self._expansion.asks_nothing(nodes):
                continue
            if len(self._made) == _MAX_DEFINITIONS:
                raise Refused(TOO_COMPLEX)
            self._names[key] = str(len(self._names))
            forms = [
                form for case in self._expansion.cases(nodes) for form in self._of(case, nodes)
            ]
            self._made[key] = forms
            waiting += [child for form in forms for child in children_of(form)]
        return self._key(root)

    def _key(self, nodes: Nodes) -> Key:
        return frozenset(self._expansion.plain(nodes))

    def _of(self, case: Case, nodes: Nodes) -> Iterator[Form]:
        if case.trouble is not None:
            raise Refused(case.trouble)
        if case.values is not None:
            if (listed := self._listed(case)) is not None:
                yield listed
        elif isinstance(case.shape, Objects):
            yield from self._forms.objects(case.shape)
        elif isinstance(case.shape, Arrays):
            yield self._forms.array(case.shape)
        elif isinstance(case.shape, Numbers):
            try:
                yield bounds(case.shape)
            except Empty as empty:
                nodes[0].note(str(empty))
        elif isinstance(case.shape, Strings):
            yield string_schema(case.shape, self._patterns)

    def _listed(self, case: Case) -> dict[str, Any] | None:
        """Return the schema of a case that lists values."""
        values = [value.raw for value in case.values or ()]
        if case == ANY[case.kind]:
            return {"type": case.kind}
        if isinstance(case.shape, Arrays | Objects):
            values = [raw for raw in values if self._expansion.fits_case(case, raw)]
        for raw in values:
            if isinstance(raw, int) and abs(raw) > _EXACT and float(raw) != raw:
                raise Refused(f"the number {raw} of an enum or const has too many digits")
        if not values:
            return None
        schema: dict[str, Any] = {"enum": values}
        if isinstance(case.shape, Strings) and any(case.shape.takes(raw) is None for raw in values):
            schema |= {
                key: value
                for key, value in string_schema(case.shape, self._patterns).items()
                if key != "type"
            }
        return schema

    def _bury(self) -> None:
        """Find definitions without a finite value: they require themselves, or such a one."""
        grown = True
        while grown:
            grown = False
            for key, forms in reversed(self._made.items()):  # children come after their parents
                if key not in self._alive and any(map(self._lives, forms)):
                    self._alive.add(key)
                    grown = True
        self._dead = self._made.keys() - self._alive

    def _lives(self, form: Form) -> bool:
        def has(nodes: Nodes | None) -> bool:
            if nodes is None:
                return False
            key = self._key(nodes)
            return key in self._alive or key not in self._made

        if isinstance(form, ObjectForm):
            named = all(has(form.names[name]) for name in form.required)
            others = form.least == 0 or any(has(nodes) for _, nodes in form.patterns)
            return named and others
        if isinstance(form, ArrayForm):
            return all(has(item_of(form, at)) for at in range(min(form.least, len(form.front) + 1)))
        return True

    def _schema(self, key: Key) -> dict[str, Any]:
        """Return the schema of a definition, with references to others."""
        forms = [form for form in self._made[key] if self._lives(form)]
        schemas = [self._written(form) for form in forms]
        return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}

    def _written(self, form: Form) -> dict[str, Any]:
        if isinstance(form, ObjectForm):
            return self._object(form)
        return self._array(form) if isinstance(form, ArrayForm) else form

    def _object(self, form: ObjectForm) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "object"}
        names = {name: self._below(nodes) for name, nodes in form.names.items()}
        given = {regex: self._below(nodes) for regex, nodes in form.patterns if form.most != 0}
        patterns = {regex: below for regex, below in given.items() if below is not False}
        if names:
            schema["properties"] = names
        if form.required:
            schema["required"] = [name for name in names if name in form.required]
        if patterns.keys() == {ANY_NAME} and not names:
            schema["additionalProperties"] = patterns[ANY_NAME]
        else:
            schema |= {"patternProperties": patterns} if patterns else {}
            schema["additionalProperties"] = False
        if form.least:
            schema["minProperties"] = len(form.required) + form.least
        if form.most is not None:
            schema["maxProperties"] = len(form.required) + form.most
        for regex in patterns:
            self._patterns.setdefault(regex, "#")
        return schema

    def _array(self, form: ArrayForm) -> dict[str, Any]:
        schema: dict[str, Any] = {"type": "array"}
        front = [self._below(nodes) for nodes in form.front]
        rest = self._below(form.rest)
        most = form.most
        if False in front:
            front = front[: front.index(False)]
            rest, most = False, len(front) if most is None else min(most, len(front))
        if front:
            schema["prefixItems"] = front
        if rest != {}:
            schema["items"] = rest
        if form.least:
            schema["minItems"] = form.least
        if most is not None:
            schema["maxItems"] = most
        return schema

    def _below(self, nodes: Nodes | None) -> dict[str, Any] | bool:
        """Return a subschema or a reference to it; False if it has no value."""
        key = None if nodes is None else self._key(nodes)
        if key is None or key in self._dead:
            return False
        if key not in self._made:
            return {}
        if is_plain(self._made[key]):
            return self._schema(key)
        self._referred[self._names[key]] = key
        return {"$ref": f"#/$defs/{self._names[key]}"}

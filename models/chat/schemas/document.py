"""The subschemas of a document, and references between them.

References are those of JSON Schema 2020-12, sections 8.2 and 9.2: a JSON Pointer, an anchor, or the
``$id`` of a schema within the document. Nothing is downloaded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from models.chat.schemas.limits import Path, Refused, parts, pointer
from models.errors import shorten

_LEGACY = re.compile(r"/draft-0[3467]/")  # in these drafts, ``$ref`` overrides all other keywords


class Node:
    """A schema of a document; each path has one node.

    Attributes:
        path: its path in the document.
        schema: an object, True or False.
        empty: why no value matches, once this is known.
    """

    __slots__ = ("empty", "path", "schema")

    def __init__(self, path: Path, schema: Any) -> None:
        self.path = path
        self.schema = schema
        self.empty: str | None = None

    def get(self, key: str) -> Any:
        """Return the value of a keyword; null counts as absent."""
        return self.schema.get(key)

    def note(self, empty: str) -> None:
        """Note why no value matches."""
        self.empty = self.empty or f"{pointer(self.path)}: {empty}"

    def refused(self, reason: str, key: str | None = None) -> Refused:
        """Return an error about this schema, or about one of its keywords."""
        return Refused(f"{pointer(self.path if key is None else (*self.path, key))}: {reason}")

    def not_held(self, *keys: str, hint: str = "") -> str:
        """Return why keywords of this schema, or the schema itself, are not supported."""
        where = ", ".join(pointer((*self.path, key)) for key in keys) or pointer(self.path)
        return f"{where} is a keyword that no answer can be held to{hint}"


class Document:
    """A client's schema.

    Attributes:
        root: the whole schema.
        legacy: whether its draft is older than 2019-09.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._nodes: dict[Path, Node] = {}
        self._made: dict[tuple[Path, str], Node] = {}
        self.root = Node((), schema)
        self._nodes[()] = self.root
        dialect = schema.get("$schema")
        self.legacy = isinstance(dialect, str) and _LEGACY.search(dialect) is not None
        self._id = "id" if self.legacy and "draft-04" in str(dialect) else "$id"
        self._ids: dict[Path, str] = {}
        self._named: dict[str, Path] = {}  # by URI, with an anchor's fragment
        self._dynamic: dict[str, list[Path]] = {}
        self._index(schema)

    def child(self, node: Node, *steps: str | int) -> Node:
        """Return the schema below a node.

        Raises:
            Refused: the value there is no schema.
        """
        path = (*node.path, *map(str, steps))
        if path not in self._nodes:
            value = node.schema
            for step in steps:
                value = value[step]
            if not isinstance(value, dict | bool):
                raise Node(path, value).refused("a schema must be an object, true or false")
            self._nodes[path] = Node(path, value)
        return self._nodes[path]

    def children(self, node: Node, key: str) -> list[Node]:
        """Return the schemas of a keyword whose value is a list of schemas."""
        value = node.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise node.refused("must be a list of schemas", key)
        return [self.child(node, key, at) for at in range(len(value))]

    def named(self, node: Node, key: str) -> dict[str, Node]:
        """Return the schemas of a keyword whose value is an object of schemas, by name."""
        value = node.get(key)
        if value is None or value == []:  # an empty object, as PHP writes it
            return {}
        if not isinstance(value, dict):
            raise node.refused("must be an object of schemas", key)
        return {name: self.child(node, key, name) for name in value}

    def made(self, near: Node, schema: Any) -> Node:
        """Return a node for a schema that is not the client's; its errors refer to ``near``."""
        key = near.path, json.dumps(schema)
        if key not in self._made:
            self._made[key] = Node(near.path, schema)
        return self._made[key]

    def referred(self, node: Node, key: str) -> Node:
        """Return the schema that a node's reference refers to.

        Raises:
            Refused: the target does not exist, or is outside the document.
        """
        reference = node.get(key)
        if not isinstance(reference, str):
            raise node.refused("must be a string", key)
        if key == "$dynamicRef" and len(self._dynamic.get(reference.lstrip("#"), ())) > 1:
            raise Refused(node.not_held(key))
        base = self._base(node.path)
        path = self._resolved(base, reference)
        if path is None:
            raise node.refused(f"{key} {shorten(reference)!r} refers to nothing in this schema")
        return self._at(path, node)

    def empty(self) -> str | None:
        """Return where and why no value matches."""
        noted = (node for node in self._nodes.values() if node.empty)
        return next((node.empty for node in noted), None)

    def _at(self, path: Path, node: Node) -> Node:
        if path in self._nodes:
            return self._nodes[path]
        value: Any = self.root.schema
        for step in path:
            value = value[int(step)] if isinstance(value, list) else value[step]
        if not isinstance(value, dict | bool):
            raise node.refused("$ref does not refer to a schema")
        self._nodes[path] = Node(path, value)
        return self._nodes[path]

    def _resolved(self, base: str, reference: str) -> Path | None:
        whole = base.partition("#")[0] + reference if reference.startswith("#") else None
        resource, fragment = urldefrag(whole or urljoin(base, reference))
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            return self._named.get(f"{resource}#{fragment}")
        steps = tuple(
            step.replace("~1", "/").replace("~0", "~") for step in fragment.split("/")[1:]
        )
        start = () if resource == "" else self._named.get(resource)
        if start is None:
            return None
        # Many pointers start at the document's root, although a schema between has an ``$id``.
        return next((path for path in (start + steps, steps) if self._holds(path)), None)

    def _holds(self, path: Path) -> bool:
        value: Any = self.root.schema
        for step in path:
            if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
                value = value[int(step)]
            elif isinstance(value, dict) and step in value:
                value = value[step]
            else:
                return False
        return True

    def _index(self, schema: dict[str, Any]) -> None:
        """Index the identifiers and anchors of all schemas."""
        every = list(parts(schema))
        self._ids = {path: part[self._id] for path, part in every if _is_text(part, self._id)}
        for path in self._ids:
            self._named[self._base(path)] = path
            self._named[self._base(path).rstrip("#")] = path
        for path, part in every:
            resource = self._base(path).partition("#")[0]
            for key in ("$anchor", "$dynamicAnchor"):
                if _is_text(part, key):
                    self._named[f"{resource}#{part[key]}"] = path
            if _is_text(part, "$dynamicAnchor"):
                self._dynamic.setdefault(part["$dynamicAnchor"], []).append(path)

    def _base(self, path: Path) -> str:
        """Return the URI that a schema's references are relative to."""
        base = ""
        for own in self._identifiers(path):
            base = urljoin(base, own) or own
        return base

    def _identifiers(self, path: Path) -> Iterator[str]:
        for length in range(len(path) + 1):
            if (own := self._ids.get(path[:length])) is not None:
                yield own


def _is_text(part: dict[str, Any], key: str) -> bool:
    return isinstance(part.get(key), str)

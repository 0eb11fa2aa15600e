"""The catalog: a row per model, and how a row is found by name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from models.errors import ModelNotFound


@dataclass(frozen=True)
class Row:
    """One model.

    Attributes:
        slug: the model's name in requests and answers.
        surface: the surface that it serves.
        tasks: the tasks that it can do, in the gateway's words (``txt2img``, ``txt2embedding``, …).
        weights: the address of the weights, pinned: see ``models.weights.sources``.
        mirrors: further such addresses, tried in order if the weights cannot be fetched from there.
        engine: import path of the engine class, ``module:Class``.
        memory_bytes: the warm model's memory on a GPU (or in RAM), working space included.
        weights_bytes: the approximate size of its files; 0 = at most ``memory_bytes``.
        licence: SPDX id or name of the weights' licence.
        gated: whether the hub requires a token and an accepted licence.
        names: further names of the model, besides the slug and the repo id.
        files: glob patterns of the files needed from a repository; empty = all.
        options: options of the engine's load: pipeline class, context length, …
        defaults: values of fields that a request leaves out; they override the surface's own.
        timeout_s: the endpoint's execution timeout for this model, from the gateway.
        default_on: the device kinds on which it is its surface's default.
        stand_in: the slug of the row that serves in its place, as a default, if this row's weights
            are not on this machine and the stand-in's are.
        notice: a message that every answer of this model includes, None for real models.
        adapters: the addresses of LoRA adapters, by name; a request chooses one by ``slug:name``.
            None = the engine does not support adapters, and a request that names one is refused.
    """

    slug: str
    surface: str
    tasks: frozenset[str]
    weights: str
    engine: str
    memory_bytes: int
    licence: str
    weights_bytes: int = 0
    gated: bool = False
    names: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float = 600.0
    mirrors: tuple[str, ...] = ()
    default_on: frozenset[str] = frozenset()
    stand_in: str | None = None
    notice: str | None = None
    adapters: Mapping[str, str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the mappings, so that the row can be shared."""
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "defaults", MappingProxyType(dict(self.defaults)))
        object.__setattr__(self, "adapters", MappingProxyType(dict(self.adapters)))

    @property
    def disk_bytes(self) -> int:
        """The size of the weights on disk in bytes, or its upper limit."""
        return self.weights_bytes or self.memory_bytes

    @property
    def repo(self) -> str | None:
        """The hub repository of the weights; None for weights from elsewhere."""
        match = re.match(r"hf://([^@#]+)", self.weights)
        return match[1] if match else None

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` means this model: slug, repo id or alias, in any letter case.

        A name with an adapter after a colon does, too: one of this model, or an address of one.
        """
        known = {own.lower() for own in (self.slug, self.repo or "", *self.names) if own}
        base, _, adapter = name.rpartition(":")
        return (
            name.lower() in known
            or (base.lower() in known and adapter in self.adapters)
            or self.brought(name) is not None
        )

    def adapter(self, name: str | None) -> str | None:
        """Return the adapter that a name of this model chooses; None without one."""
        adapter = (name or "").rpartition(":")[2]
        return adapter if adapter in self.adapters and ":" in (name or "") else None

    def brought(self, name: str | None) -> str | None:
        """Return the address of an adapter behind a name of this model and a colon; else None.

        It is one of the hub's (``slug:owner/name``) or a URL.
        """
        if name is None or self.surface != "chat" or self.adapter(name) is not None:
            return None
        for own in sorted((self.slug, self.repo or "", *self.names), key=len, reverse=True):
            rest = name[len(own) + 1 :]
            if own and name.lower().startswith(f"{own.lower()}:") and "/" in rest:
                return rest
        return None

    def named(self, name: str | None) -> str:
        """Return the slug for a name of this model, with the adapter if the name chooses one."""
        adapter = self.adapter(name) or self.brought(name)
        return self.slug if adapter is None else f"{self.slug}:{adapter}"

    @property
    def called(self) -> list[str]:
        """The names that a request may choose: the model, and each of its adapters."""
        served = [name for name, source in self.adapters.items() if source is not None]
        return [self.slug, *(f"{self.slug}:{name}" for name in served)]

    def pinned(self, repo: str | None, revision: str) -> Row:
        """Return the row with another revision of its repository, or of one of its mirrors'.

        If ``repo`` is not a repository of this model, or the revision is pinned already, the row is
        returned unchanged.
        """
        for _, known, pinned in self._repos():
            if repo is None or repo.lower() == known.lower():
                return self if pinned == revision else self.at(known, revision)
        return self

    def at(self, repo: str, revision: str) -> Row:
        """Return the row with the weights of one of its repositories only, at a revision.

        Raises:
            ValueError: the model is not in this repository.
        """
        for address, known, pinned in self._repos():
            if known.lower() == repo.lower():
                moved = address.replace(f"@{pinned}", f"@{revision}", 1)
                return replace(self, weights=moved, mirrors=())
        raise ValueError(f"{self.slug} is not in the repository {repo}")

    def _repos(self) -> Iterator[tuple[str, str, str]]:
        """Yield the addresses on the hub, each with its repository and revision."""
        for address in (self.weights, *self.mirrors):
            if match := re.match(r"hf://([^@]+)@([^?# ]+)", address):
                yield address, match[1], match[2]


class Catalog:
    """The rows that a worker may serve."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def find(self, name: str) -> Row:
        """Return the row that has ``name``.

        Raises:
            ModelNotFound: no row has this name; the message lists the existing ones.
        """
        for row in self.rows:
            if row.answers_to(name):
                return row
        raise ModelNotFound(name, (row.slug for row in self.rows))

    def of(self, surface: str) -> Catalog:
        """Return the part of the catalog that serves ``surface``."""
        return Catalog(row for row in self.rows if row.surface == surface)

    def default(self, surface: str, device_kind: str, task: str | None = None) -> Row:
        """Return the row that serves ``surface``, or a task of it, if a request names no model."""
        for row in self.rows:
            able = task is None or task in row.tasks
            if row.surface == surface and able and device_kind in row.default_on:
                return row
        raise ModelNotFound(task or surface, (row.slug for row in self.rows), default=True)

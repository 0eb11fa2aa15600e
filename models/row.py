"""What the catalog is made of: a row per model, and how one is found."""

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
        surface: the surface it serves.
        tasks: what it can do there, in the gateway's words (``txt2img``, ``txt2embedding``, …).
        weights: where they come from, pinned: see ``models.weights.sources``.
        mirrors: further such addresses, tried in turn where that one cannot be had.
        engine: import path of the engine class, ``module:Class``.
        memory_bytes: what the warm model takes of a GPU's memory (or RAM), working space included.
        weights_bytes: what its files take on a disk, about; 0 = no more than ``memory_bytes``.
        licence: SPDX id or name of the weights' licence.
        gated: whether the hub asks for a token and an accepted licence.
        names: further names answered to, besides the slug and the repo id.
        files: glob patterns of the files needed from a repository; empty = all.
        options: what the engine needs to know at load: pipeline class, context length, …
        defaults: what a request that leaves a field out gets; merged over the surface's own.
        timeout_s: the endpoint's execution timeout for this model, from the gateway.
        default_on: device kinds on which it is its surface's default.
        stand_in: the slug of the row that serves in its place, as a default, where its weights are
            not on this machine and the stand-in's are.
        notice: what every answer must say about this model, None for real ones.
        adapters: where LoRA adapters of this model come from, by their names; a request chooses one
            by ``slug:name``. None = the engine takes none: who chooses it is told so.
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
        """Freeze the mappings, so that a row can be shared."""
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))
        object.__setattr__(self, "defaults", MappingProxyType(dict(self.defaults)))
        object.__setattr__(self, "adapters", MappingProxyType(dict(self.adapters)))

    @property
    def disk_bytes(self) -> int:
        """What the weights take on a disk, or at most."""
        return self.weights_bytes or self.memory_bytes

    @property
    def repo(self) -> str | None:
        """The hub repository of the weights, None for weights from elsewhere."""
        match = re.match(r"hf://([^@#]+)", self.weights)
        return match[1] if match else None

    def answers_to(self, name: str) -> bool:
        """Whether ``name`` means this model: slug, repo id or alias, in any letter case.

        So does one with an adapter of this model behind it.
        """
        known = {one.lower() for one in (self.slug, self.repo or "", *self.names) if one}
        base, _, adapter = name.rpartition(":")
        return name.lower() in known or (base.lower() in known and adapter in self.adapters)

    def adapter(self, name: str | None) -> str | None:
        """The adapter that a name by which this model was found chooses."""
        adapter = (name or "").rpartition(":")[2]
        return adapter if adapter in self.adapters and ":" in (name or "") else None

    def named(self, name: str | None) -> str:
        """What a name by which this model was found chooses: the model, or one with an adapter."""
        adapter = self.adapter(name)
        return self.slug if adapter is None else f"{self.slug}:{adapter}"

    @property
    def called(self) -> list[str]:
        """What a request may choose: the model, and each of its adapters."""
        served = [name for name, source in self.adapters.items() if source is not None]
        return [self.slug, *(f"{self.slug}:{name}" for name in served)]

    def pinned(self, repo: str | None, revision: str) -> Row:
        """The same model from another revision of its repository, or of another that it is in.

        Weights that the catalog takes for the same are left as they are, and so are those of a
        repository that is none of the model's.
        """
        for _, known, pinned in self._repos():
            if repo is None or repo.lower() == known.lower():
                return self if pinned == revision else self.at(known, revision)
        return self

    def at(self, repo: str, revision: str) -> Row:
        """The same model from one of its repositories, at a revision, and from nowhere else.

        Raises:
            ValueError: it is in no such repository.
        """
        for address, known, pinned in self._repos():
            if known.lower() == repo.lower():
                moved = address.replace(f"@{pinned}", f"@{revision}", 1)
                return replace(self, weights=moved, mirrors=())
        raise ValueError(f"{self.slug} is in no repository {repo}")

    def _repos(self) -> Iterator[tuple[str, str, str]]:
        """The addresses on the hub, each with its repository and revision."""
        for address in (self.weights, *self.mirrors):
            if match := re.match(r"hf://([^@]+)@([^?# ]+)", address):
                yield address, match[1], match[2]


class Catalog:
    """The rows a worker may serve from."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = tuple(rows)

    def find(self, name: str) -> Row:
        """The row that answers to ``name``.

        Raises:
            ModelNotFound: no row does; names those there are.
        """
        for row in self.rows:
            if row.answers_to(name):
                return row
        raise ModelNotFound(name, (row.slug for row in self.rows))

    def of(self, surface: str) -> Catalog:
        """The part of the catalog that serves ``surface``."""
        return Catalog(row for row in self.rows if row.surface == surface)

    def default(self, surface: str, device_kind: str, task: str | None = None) -> Row:
        """The row that serves ``surface``, or a task of it, when a request names no model."""
        for row in self.rows:
            able = task is None or task in row.tasks
            if row.surface == surface and able and device_kind in row.default_on:
                return row
        raise ModelNotFound(f"default {surface} model", (row.slug for row in self.rows))

"""The names of models: further ones, and the nearest to one that is not held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from difflib import SequenceMatcher

from handler.settings.variable import SettingsError
from models.errors import ModelNotFound
from models.row import Catalog, Row

_NEAREST = 3  # models named to who asks for one that is not held


def renamed(catalog: Catalog, further_names: Mapping[str, str]) -> Catalog:
    """The catalog with further names of its models; they come before other models' own.

    Raises:
        SettingsError: a name is to mean a model that the catalog does not have.
    """
    names: dict[str, tuple[str, ...]] = {}
    for name, model in further_names.items():
        row = find(catalog, model)
        if row is None:
            alike = ", ".join(nearest([model], catalog.rows))
            raise SettingsError(f"SERVED_NAMES: this worker holds no {model}; the nearest: {alike}")
        names[row.slug] = (*names.get(row.slug, row.names), name)
    moved = [replace(row, names=names[row.slug]) for row in catalog.rows if row.slug in names]
    return Catalog([*moved, *(row for row in catalog.rows if row.slug not in names)])


def nearest(names: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The slugs of the models whose slug, repo or name looks most like one of these."""
    wanted = [part.lower() for name in names for part in (name, name.rpartition("/")[2])]

    def likeness(row: Row) -> float:
        known = [name.lower() for name in (row.slug, row.repo or "", *row.names)]
        return max(SequenceMatcher(None, left, right).ratio() for left in wanted for right in known)

    return [row.slug for row in sorted(rows, key=likeness, reverse=True)[:_NEAREST]]


def find(catalog: Catalog, name: str) -> Row | None:
    """The row that answers to a name, if there is one."""
    try:
        return catalog.find(name)
    except ModelNotFound:
        return None

"""The rows of the models that the operator names: the catalog's, or described."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from models.errors import QuartetError
from models.repository import address, choices
from models.repository.describe import Description, describe, overridden
from models.repository.machine import Machine
from models.row import Catalog, Row
from models.weights.places import Places

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Wanted:
    """A model that the operator names.

    Attributes:
        address: a repository, a folder, or a slug of the catalog.
        slug: its name in requests; None = its own.
        revision: for an address without one.
        tasks: that it is wanted for.
        values: of its row, by the names of ``facts.Facts``.
        variable: that names it, for errors.
    """

    address: str
    slug: str | None = None
    revision: str | None = None
    tasks: frozenset[str] = frozenset()
    values: Mapping[str, Any] = field(default_factory=dict)
    variable: str = "MODEL"


def listed(text: str, variable: str) -> Iterator[Wanted]:
    """Read models in one line: ``slug=address`` or ``address``, separated by commas or semicolons.

    Raises:
        ValueError: one has no address.
    """
    for part in text.replace(";", ",").split(","):
        if not part.strip():
            continue
        slug, equals, where = part.strip().partition("=")
        if not equals or re.search(r"[/#?:]", slug):
            slug, equals, where = "", "", part.strip()  # an address may have an = of its own
        if not where.strip() or (equals and not slug.strip()):
            raise ValueError(f"{variable}: {part.strip()!r} must be slug=address, or an address")
        yield Wanted(where.strip(), slug.strip() or None, variable=variable)


def from_file(file: Path, first: Wanted | None) -> list[Wanted]:
    """Return the models of a file; ``first`` is the one that a variable names.

    Raises:
        ValueError: a table names no model, or the file cannot be read.
    """
    made = []
    for values in choices.read(file):
        where = values.pop("weights", None) or (first.address if first else None)
        if where is None:
            raise ValueError(f"MODEL_ROW: {file}: a table needs weights, or MODEL to be set")
        base = first if first is not None and where == first.address else Wanted(where)
        made.append(
            replace(
                base,
                slug=values.pop("slug", None) or base.slug,
                revision=values.pop("revision", None) or base.revision,
                tasks=values.get("tasks") or base.tasks,
                values=values,
                variable="MODEL_ROW",
            )
        )
    return made


def rows(
    wanted: Iterable[Wanted],
    catalog: Catalog,
    places: Places,
    machine: Machine,
    folders: Sequence[Path] = (),
) -> list[Row]:
    """Return a row for each model; a described one is logged in three lines.

    Raises:
        ValueError: one cannot be read or served; names its variable.
    """
    made: list[Row] = []
    for model in wanted:
        row = held(model, catalog) or _described(model, places, machine, folders)
        if any(other.slug.lower() == row.slug.lower() for other in made):
            raise ValueError(
                f"{model.variable}: two models are named {row.slug}; write slug=address"
            )
        made.append(row)
    return made


def held(wanted: Wanted, catalog: Catalog) -> Row | None:
    """Return the catalog's row for a model at the wanted revision, with the operator's values."""
    if "#" in wanted.address:
        return None  # a single file of a repository
    repo, _, revision = wanted.address.removeprefix("hf://").partition("@")
    revision = revision or wanted.revision or ""
    row = next((row for row in catalog.rows if row.answers_to(repo)), None)
    if row is None:
        return None
    if revision:
        row = row.pinned(repo if "/" in repo else None, revision)
    if wanted.slug is not None and wanted.slug.lower() != row.slug.lower():
        row = replace(row, slug=wanted.slug, names=(*row.names, row.slug), default_on=frozenset())
    return overridden(Description(row, {}), wanted.values, wanted.variable).row


def _described(wanted: Wanted, places: Places, machine: Machine, folders: Sequence[Path]) -> Row:
    try:
        where = address.parse(wanted.address, wanted.revision, folders)
        description = describe(where, places, machine, slug=wanted.slug, tasks=wanted.tasks)
    except QuartetError as error:
        raise ValueError(f"{wanted.variable}: {error.message}") from None
    description = overridden(description, wanted.values, wanted.variable)
    for line in description.summary:
        log.info("%s", line)
    return description.row

"""The results that a part writes while it runs, one line of JSON each, so that none is lost."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One figure.

    Attributes:
        what: its name within the part: ``eager, 4 at once``.
        unit: the unit of the value: ``s a picture``.
        share: the share of a device limit that was reached, from 0 to 1; None if none applies.
        of: the limit: ``arithmetic`` or ``bandwidth``.
    """

    what: str
    value: float
    unit: str
    share: float | None = None
    of: str = ""


@dataclass(frozen=True)
class Skipped:
    """A measurement that is not possible here, and the reason; not a failure."""

    what: str
    reason: str


@dataclass(frozen=True)
class Failed:
    """Why the part ended early."""

    reason: str


@dataclass(frozen=True)
class Named:
    """A text: the device's name, a library's version."""

    name: str
    text: str


Outcome = Figure | Skipped | Failed | Named
_KINDS: dict[str, type[Any]] = {kind.__name__: kind for kind in (Figure, Skipped, Failed, Named)}


def line(outcome: Outcome) -> str:
    """Return a result as a line of JSON."""
    return json.dumps({"kind": type(outcome).__name__, **asdict(outcome)}) + "\n"


def read(file: Path) -> list[Outcome]:
    """Return all results in a file, without a last line that is incomplete."""
    outcomes: list[Outcome] = []
    for line in file.read_text().splitlines(keepends=True) if file.exists() else ():
        if line.endswith("\n"):
            fields = json.loads(line)
            outcomes.append(_KINDS[fields.pop("kind")](**fields))
    return outcomes


def named(part: str, outcomes: Iterable[Outcome]) -> dict[str, float | str]:
    """Return a part's figures, with names of letters, digits and underscores."""
    values: dict[str, float | str] = {}
    for outcome in outcomes:
        if isinstance(outcome, Named):
            values[outcome.name] = outcome.text
        elif isinstance(outcome, Figure):
            name = re.sub(
                r"[^a-z0-9.]+", "_", f"{part} {outcome.what} {outcome.unit}".lower()
            ).strip("_")
            values[name] = outcome.value
            if outcome.share is not None:
                values[f"{name}_share"] = outcome.share
    return values


def rows(part: str, outcomes: Iterable[Outcome]) -> list[tuple[str, ...]]:
    """Return a part's rows of the table: part, name, figure, unit, share of a limit."""
    rows: list[tuple[str, ...]] = []
    for outcome in outcomes:
        if isinstance(outcome, Figure):
            share = "" if outcome.share is None else f"{outcome.share:.2f} of {outcome.of}"
            rows.append((part, outcome.what, f"{outcome.value:.4g}", outcome.unit, share))
        elif isinstance(outcome, Skipped):
            rows.append((part, outcome.what, "", "", f"skipped: {outcome.reason}"))
    return rows

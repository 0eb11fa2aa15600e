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


Told = Figure | Skipped | Failed | Named
_KINDS: dict[str, type[Any]] = {one.__name__: one for one in (Figure, Skipped, Failed, Named)}


def line(told: Told) -> str:
    """Return a result as a line of JSON."""
    return json.dumps({"kind": type(told).__name__, **asdict(told)}) + "\n"


def read(file: Path) -> list[Told]:
    """Return all results in a file, without a last line that is incomplete."""
    found: list[Told] = []
    for one in file.read_text().splitlines(keepends=True) if file.exists() else ():
        if one.endswith("\n"):
            given = json.loads(one)
            found.append(_KINDS[given.pop("kind")](**given))
    return found


def named(part: str, told: Iterable[Told]) -> dict[str, float | str]:
    """Return a part's figures, with names of letters, digits and underscores."""
    values: dict[str, float | str] = {}
    for one in told:
        if isinstance(one, Named):
            values[one.name] = one.text
        elif isinstance(one, Figure):
            name = re.sub(r"[^a-z0-9.]+", "_", f"{part} {one.what} {one.unit}".lower()).strip("_")
            values[name] = one.value
            if one.share is not None:
                values[f"{name}_share"] = one.share
    return values


def rows(part: str, told: Iterable[Told]) -> list[tuple[str, ...]]:
    """Return a part's rows of the table: part, name, figure, unit, share of a limit."""
    found: list[tuple[str, ...]] = []
    for one in told:
        if isinstance(one, Figure):
            share = "" if one.share is None else f"{one.share:.2f} of {one.of}"
            found.append((part, one.what, f"{one.value:.4g}", one.unit, share))
        elif isinstance(one, Skipped):
            found.append((part, one.what, "", "", f"skipped: {one.reason}"))
    return found

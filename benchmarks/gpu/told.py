"""What a part tells while it runs: a line of JSON each, so that what is measured outlasts it."""

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
        what: of what, within its part: ``eager, 4 at once``.
        unit: what the value counts: ``s a picture``.
        share: of a limit of the device that was reached, from 0 to 1; None where none applies.
        of: which limit: ``arithmetic`` or ``bandwidth``.
    """

    what: str
    value: float
    unit: str
    share: float | None = None
    of: str = ""


@dataclass(frozen=True)
class Skipped:
    """What could not be measured here, and why; no failure."""

    what: str
    reason: str


@dataclass(frozen=True)
class Failed:
    """Why the part ended before its end."""

    reason: str


@dataclass(frozen=True)
class Named:
    """Words: the device's name, a library's version."""

    name: str
    text: str


Told = Figure | Skipped | Failed | Named
_KINDS: dict[str, type[Any]] = {one.__name__: one for one in (Figure, Skipped, Failed, Named)}


def line(told: Told) -> str:
    """As it is written."""
    return json.dumps({"kind": type(told).__name__, **asdict(told)}) + "\n"


def read(file: Path) -> list[Told]:
    """All that was told; a last line that was cut off is left out."""
    found: list[Told] = []
    for one in file.read_text().splitlines(keepends=True) if file.exists() else ():
        if one.endswith("\n"):
            given = json.loads(one)
            found.append(_KINDS[given.pop("kind")](**given))
    return found


def named(part: str, told: Iterable[Told]) -> dict[str, float | str]:
    """A part's figures by names of letters, digits and underscores."""
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
    """A part's lines of the table: part, what, figure, unit, share of a limit."""
    found: list[tuple[str, ...]] = []
    for one in told:
        if isinstance(one, Figure):
            share = "" if one.share is None else f"{one.share:.2f} of {one.of}"
            found.append((part, one.what, f"{one.value:.4g}", one.unit, share))
        elif isinstance(one, Skipped):
            found.append((part, one.what, "", "", f"skipped: {one.reason}"))
    return found

"""Prints the results of every benchmark."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows in columns."""
    text = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[column]) for row in text) for column in range(len(head))]
    for row in text:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def figures(values: Mapping[str, float | str]) -> None:
    """Print the named figures as JSON, as the last line, each to six significant digits."""
    rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in values.items()}
    print(
        json.dumps({**rounded, "machine": platform.machine(), "python": platform.python_version()})
    )

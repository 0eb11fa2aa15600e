"""What is known of a model, each value with its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from models.row import Row

_NAMES = frozenset(row_field.name for row_field in fields(Row))
_GROUPS = ("options", "defaults")  # values of these are named ``options.family``


@dataclass
class Facts:
    """Values of a row by name, and the source of each.

    Attributes:
        values: by the row's field, or ``options.NAME`` and ``defaults.NAME``.
        sources: where each value comes from, in words.
        notes: for the operator: what the model does not do here, and why.
    """

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def say(self, name: str, value: Any, source: str) -> None:
        """Note a value; a later one replaces it."""
        self.values[name] = value
        self.sources[name] = source

    def row(self) -> Row:
        """Return the row."""
        made = {name: value for name, value in self.values.items() if name in _NAMES}
        for group in _GROUPS:
            made[group] = self._group(group)
        return Row(**made)

    def _group(self, group: str) -> Mapping[str, Any]:
        prefix = f"{group}."
        return {
            name.removeprefix(prefix): value
            for name, value in self.values.items()
            if name.startswith(prefix)
        }

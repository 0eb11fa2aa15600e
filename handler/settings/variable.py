"""What every variable of the environment is made of."""

from __future__ import annotations

from typing import Any

from pydantic import Field


class SettingsError(Exception):
    """A variable is invalid; the message is one line, for the operator."""


def variable(name: str, meaning: str, default: Any = None, **limits: Any) -> Any:
    """Return a field of the settings: a variable's name, meaning, default and limits."""
    return Field(default=default, validation_alias=name, description=meaning, **limits)


def split(value: object) -> object:
    """Return the parts of a comma-separated text; anything else as it is."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value

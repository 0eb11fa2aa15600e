"""Other APIs' fields, put into our words where an alias does not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from handler.contract.unsupported import is_left_out
from models.errors import InvalidValue

# Takes a field's name and value, and returns the fields that it stands for.
Translate = Callable[[str, Any], Mapping[str, Any]]


class Translation:
    """A body whose fields are being put into our words.

    Args:
        given: the fields that the client sent.

    Attributes:
        body: the fields in our words, and what is ours already.
        called: what the client called the fields that the body has instead.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.body = dict(given)
        self.called: dict[str, str] = {}

    def apply(self, table: Mapping[str, Translate]) -> None:
        """Translate each field of a table that the body has.

        Raises:
            InvalidValue: a field contradicts another one.
            RequestError: what the table's functions raise.
        """
        for name, translate in table.items():
            if is_left_out(value := self.body.get(name)):
                continue
            del self.body[name]
            for field, ours in translate(name, value).items():
                self.add(field, ours, name)

    def add(self, field: str, value: Any, name: str) -> None:
        """Give a field the value that the client gave under another name.

        Raises:
            InvalidValue: the client gave the field another value, too.
        """
        name = self.called.get(name, name)
        if not is_left_out(self.body.get(field)) and self.body[field] != value:
            raise InvalidValue(
                f"{name} and {field} say one thing and got two values; send one of them.",
                param=name,
            )
        self.body[field] = value
        if field != name:
            self.called[field] = name


def translate(
    given: Mapping[str, Any], table: Mapping[str, Translate]
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body in our words, and what the client called its fields; see ``Translation``.

    Raises:
        InvalidValue: a field contradicts another one.
        RequestError: what the table's functions raise.
    """
    made = Translation(given)
    made.apply(table)
    return made.body, made.called

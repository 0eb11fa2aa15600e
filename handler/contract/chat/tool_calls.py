"""Calls that the assistant made earlier in a conversation."""

from __future__ import annotations

import json
from itertools import accumulate
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from handler.contract.request import NonEmpty, Text

MAX_ARGUMENT_DEPTH = 100  # of arguments that a template writes as JSON


class Function(BaseModel):
    """The function of a call, and its ``arguments`` as the model wrote them, perhaps cut off."""

    model_config = ConfigDict(strict=True)

    name: NonEmpty
    arguments: Text | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The arguments by their names, as chat templates need them.

        Text that is no JSON object stands under the name ``arguments``.
        """
        text = self.arguments or ""
        value = _parsed(text)
        if isinstance(value, dict):
            return value
        return {} if text.strip() in ("", "null") else {"arguments": text}


def _parsed(text: str) -> Any:
    """Return a JSON value; None for text that is none, or none that a template can write."""
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):  # also half of a surrogate pair, and 1e999
        return None
    return value if _depth(text) <= MAX_ARGUMENT_DEPTH else None


def _depth(text: str) -> int:
    """Return how deep brackets are nested at most, those within strings counted as well."""
    depths = accumulate((letter in "[{") - (letter in "]}") for letter in text)
    return max(depths, default=0)


class ToolCall(BaseModel):
    """A call that the assistant made earlier."""

    model_config = ConfigDict(strict=True)

    id: NonEmpty
    type: Literal["function"] = "function"
    function: Function

    def plain(self) -> dict[str, Any]:
        """The call as chat templates know it: with arguments that are an object."""
        function = {"name": self.function.name, "arguments": self.function.values}
        return {"type": "function", "id": self.id, "function": function}

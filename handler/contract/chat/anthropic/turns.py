"""A turn of Anthropic's, as a message of a chat."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Turn:
    """One message of a chat, and where it comes from.

    Attributes:
        message: as chat has it.
        path: of the turn, or of the block that is all of it.
        parts: of the blocks that its parts are made of.
        calls: of the blocks that its calls are made of.
    """

    message: dict[str, Any]
    path: str
    parts: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

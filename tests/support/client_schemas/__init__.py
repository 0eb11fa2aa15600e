"""JSON Schemas as clients send them: of pydantic, zod, OpenAPI documents and MCP servers.

Each module has ``schemas()``, which yields ``Sample`` objects, always the same ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Sample:
    """A schema, and values that an answer must or must not be able to have.

    Attributes:
        good: valid values, their properties in the schema's order.
        bad: invalid values.
    """

    name: str
    schema: dict[str, Any]
    good: tuple[Any, ...] = ()
    bad: tuple[Any, ...] = ()

"""The JSON Schema of strings: lengths, formats and patterns."""

from __future__ import annotations

from typing import Any

from models.chat.schemas.formats import PATTERNS
from models.chat.schemas.limits import pointer
from models.chat.schemas.patterns import translated
from models.chat.schemas.shapes import Strings

_MAX_DEFINITIONS = 4000
_EXACT = 2**53  # not every integer beyond is a floating-point number


def string_schema(shape: Strings, sources: dict[str, str]) -> dict[str, Any]:
    """Return the JSON Schema of a string's constraints, in keywords that llguidance supports.

    Args:
        shape: the constraints.
        sources: receives each pattern's place in the client's schema.
    """
    schema: dict[str, Any] = {"type": "string"}
    if shape.least:
        schema["minLength"] = shape.least
    if shape.most is not None:
        schema["maxLength"] = shape.most
    rules: list[dict[str, str]] = []
    for pattern in shape.patterns:
        where = pointer(pattern.node.path) if pattern.node is not None else "#"
        if pattern.is_format and pattern.source not in PATTERNS:
            rules.append({"format": pattern.source})
            continue
        for regex in translated(PATTERNS[pattern.source] if pattern.is_format else pattern.source):
            sources.setdefault(regex, where)
            rules.append({"pattern": regex})
    if len(rules) == 1:
        return schema | rules[0]
    return schema | ({"allOf": [{"type": "string", **rule} for rule in rules]} if rules else {})

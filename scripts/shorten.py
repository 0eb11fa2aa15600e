"""Print JSON for a person: indented, long strings and lists cut."""

from __future__ import annotations

import json
import sys
from typing import Any

_CHARACTERS = 160
_ITEMS = 4


def short(value: Any) -> Any:
    """Cut what nobody reads."""
    if isinstance(value, dict):
        return {key: short(one) for key, one in value.items()}
    if isinstance(value, list):
        more = [f"… {len(value) - _ITEMS} more"] if len(value) > _ITEMS else []
        return [short(one) for one in value[:_ITEMS]] + more
    if isinstance(value, str) and len(value) > _CHARACTERS:
        return f"{value[:40]}… ({len(value)} characters)"
    return value


for line in sys.stdin:
    print(json.dumps(short(json.loads(line)), indent=2, ensure_ascii=False))  # noqa: T201

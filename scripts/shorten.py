"""Print JSON for a person: indented, long strings and lists cut; its pictures go to out/."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
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


def keep(answer: Any, name: str) -> None:
    """Write the pictures of an answer to where a person can look at them."""
    for index, picture in enumerate(answer.get("data", ())):
        if content := picture.get("b64_json"):
            path = Path("out") / f"{name}{index or ''}.{answer['output_format']}"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(base64.b64decode(content))
            print(f"-> {path}")  # noqa: T201


for line in sys.stdin:
    told = json.loads(line)
    print(json.dumps(short(told), indent=2, ensure_ascii=False))  # noqa: T201
    keep(told, sys.argv[1])

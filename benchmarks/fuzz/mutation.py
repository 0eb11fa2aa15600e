"""Changes bytes and JSON. JSON is changed as a tree, so that most of it still parses."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Sequence
from typing import Any

_NESTED: Any = []
for _ in range(60):
    _NESTED = [_NESTED]
_VALUES: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, -1e308, 10**30, 2**31, 2**63, 5.0),
    *("", " ", "0", "-1", "true", "nan", "\0", "\ud800", "é" * 300, "x" * 5000, "../../x", "{{x}}"),
    *("http://127.0.0.1/", "http://[::1", "data:,", "data:x;base64,AAAA", "file:///etc/passwd"),
    *([], {}, [[]], [None], {"": None}, {"type": None}, {"url": 7}, _NESTED, ["a"] * 50),
)
_BYTES = (
    b"",
    b"\0",
    b"\xff" * 8,
    b"\r\n\r\n",
    b"--",
    b"%",
    b'"',
    b"{",
    b"\x7f\xff\xff\xff",
    b"\0" * 64,
)


def change_bytes(content: bytes, chance: random.Random) -> bytes:
    """Return the bytes with one to four changes."""
    data = bytearray(content or b"\0")
    for _ in range(chance.randint(1, 4)):
        at, length = chance.randrange(len(data) + 1), chance.randint(1, 64)
        kind = chance.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            data[at : at + length] = chance.randbytes(length)
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * chance.randint(1, 8)
        elif kind == 4:
            data[at : at + length] = chance.choice(_BYTES)
        else:
            del data[at:]
        data = data or bytearray(b"\0")
    return bytes(data)


def change_json(content: bytes, chance: random.Random) -> bytes:
    """Return JSON with one to three changes of its tree, or sometimes of its bytes."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return change_bytes(content, chance)
    if chance.random() < 0.05:
        return change_bytes(content, chance)
    for _ in range(chance.randint(1, 3)):
        tree = _change(tree, chance)
    return json.dumps(tree).encode()


def _change(tree: Any, chance: random.Random) -> Any:
    places = list(_places(tree))
    if not places:
        return copy.deepcopy(chance.choice(_VALUES))
    holder, key = chance.choice(places)
    kind = chance.randrange(6)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == 2 and isinstance(holder, dict):
        holder[chance.choice(("", "x", "type", "stream", "n", "\0", "model"))] = holder[key]
    elif kind == 3:
        other_holder, other = chance.choice(places)
        holder[key] = copy.deepcopy(other_holder[other])
    elif kind == 4:
        holder[key] = [holder[key]]
    else:
        holder[key] = copy.deepcopy(chance.choice(_VALUES))
    return tree


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return all holders and keys, by a walk without recursion."""
    found, waiting = [], [tree]
    while waiting and len(found) < 2000:
        holder = waiting.pop()
        keys = (
            holder
            if isinstance(holder, dict)
            else range(len(holder))
            if isinstance(holder, list)
            else ()
        )
        for key in keys:
            found.append((holder, key))
            waiting.append(holder[key])
    return found

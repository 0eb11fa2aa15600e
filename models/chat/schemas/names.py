"""A regular expression for all names except some."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

_MAX_CHARACTERS = 4000  # of all names together; each needs a state
_MAX_LENGTH = 60  # of a name: the largest nesting depth of groups
ANY_NAME = "(?s:.*)"


def none_of(names: Collection[str]) -> str | None:
    """Return a pattern of all texts except some names; None if it would be too large."""
    if sum(map(len, names)) > _MAX_CHARACTERS or max(map(len, names)) > _MAX_LENGTH:
        return None
    tree: dict[str, Any] = {}
    for name in names:
        place = tree
        for letter in (*name, ""):  # "" marks the end of a name
            place = place.setdefault(letter, {})
    return f"^{_beside(tree)}$"


def _beside(tree: dict[str, Any]) -> str:
    """Return a pattern of all continuations that differ from those of the names."""
    letters = [letter for letter in tree if letter]
    choices = [] if "" in tree else [""]
    choices.append(
        f"[^{''.join(map(_escaped, letters))}]{ANY_NAME}" if letters else f"(?s:.){ANY_NAME}"
    )
    choices += [f"{_escaped(letter)}{_beside(tree[letter])}" for letter in letters]
    return f"(?:{'|'.join(choices)})"


def _escaped(letter: str) -> str:
    return letter if letter.isalnum() else f"\\x{{{ord(letter):x}}}"

"""Patterns of JSON Schema (ECMA-262) in the dialect of llguidance, which is Rust's regex-syntax.

Where ECMA-262, Python and Rust read a pattern differently, what is written here matches what all of
them match: an answer is then valid whoever validates it.
"""

from __future__ import annotations

import re
from functools import lru_cache

from models.chat.schemas.lookarounds import without_lookarounds

_SYMBOL = re.compile(
    r"\\u\{[0-9a-fA-F]+\}|\\u[0-9a-fA-F]{4}|\\x[0-9a-fA-F]{2}|\\[pP]\{[^}]*\}|\\.|\{\d+(?:,\d*)?\}|.",
    re.DOTALL,
)
_PAIR = re.compile(r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_META = frozenset("\\.+*?()|[]{}^$#&-~")

# A class of characters as narrow, and as wide, as any of the three dialects has it.
_NARROW = {"d": "0-9", "w": "0-9A-Za-z_", "s": r" \t\n\r\x0b\x0c"}
_WIDE = {"d": r"\p{Nd}", "w": r"\p{Alphabetic}\p{M}\p{N}\p{Pc}", "s": r"\s\x1c-\x1f\x{feff}"}
_DOT = r"[^\n\r\x{2028}\x{2029}]"
_ANCHORS = {"\\Z": r"\z"}


@lru_cache(1024)
def translated(pattern: str) -> tuple[str, ...]:
    """Return regular expressions for llguidance; a text that matches all matches the pattern."""
    return tuple(_translated(part) for part in without_lookarounds(pattern))


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", pattern))
    except (re.error, OverflowError):
        return None


def matches(pattern: str, text: str) -> bool | None:
    """Say whether a text matches a pattern; None where Python cannot tell."""
    compiled = _compiled(pattern)
    return None if compiled is None else compiled.search(text) is not None


def _translated(pattern: str) -> str:
    pattern = _PAIR.sub(_joined, pattern)
    symbols = _SYMBOL.findall(pattern)
    made: list[str] = []
    at = 0
    while at < len(symbols):
        if symbols[at] == "[":
            at = _class(symbols, at, made)
            continue
        made.append(_outside(symbols[at]))
        at += 1
    return "".join(made)


def _joined(pair: re.Match[str]) -> str:
    """Return the character of two surrogates, as an escape."""
    high, low = (int(half, 16) for half in pair.groups())
    return f"\\u{{{0x10000 + ((high - 0xD800) << 10) + low - 0xDC00:x}}}"


def _outside(symbol: str) -> str:
    """Return a symbol that stands outside of brackets."""
    if symbol == ".":
        return _DOT
    if symbol == "{":  # no quantifier: a literal brace
        return r"\{"
    if symbol[0] != "\\":
        return symbol
    letter = symbol[1:]
    if letter in _NARROW:
        return f"[{_NARROW[letter]}]"
    if letter.lower() in _WIDE:
        return f"[^{_WIDE[letter.lower()]}]"
    return _ANCHORS.get(symbol) or _escape(symbol)


def _class(symbols: list[str], at: int, made: list[str]) -> int:
    """Write a class of characters; returns the place of the symbol after it."""
    at += 1
    negated = at < len(symbols) and symbols[at] == "^"
    at += negated
    made.append("[^" if negated else "[")
    before = ""
    while at < len(symbols) and symbols[at] != "]":
        made.append(_inside(symbols[at], before, negated))
        before = symbols[at]
        at += 1
    made.append("]" if at < len(symbols) else "")
    return at + 1


def _inside(symbol: str, before: str, negated: bool) -> str:
    """Return a symbol that stands in brackets, after another one."""
    if symbol in ("[", "&", "~"):  # in Rust they nest and combine classes
        return "\\" + symbol
    if symbol == "-" and (before == "-" or before[1:].lower() in _WIDE):
        return r"\-"
    if symbol == "\\b":
        return r"\x08"
    if symbol[0] != "\\":
        return symbol
    letter = symbol[1:]
    own, other = (_WIDE, _NARROW) if negated else (_NARROW, _WIDE)
    if letter in own:
        return own[letter]
    if letter.lower() in other:
        return f"[^{other[letter.lower()]}]"
    return _escape(symbol)


def _escape(symbol: str) -> str:
    """Return an escape as Rust has it; it refuses those of letters that it does not know."""
    letter = symbol[1:]
    if letter == "0":
        return r"\x00"
    if len(letter) == 1 and not letter.isalnum() and letter not in _META:
        return letter
    return symbol

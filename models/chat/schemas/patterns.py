"""JSON Schema's patterns (ECMA-262) in the dialect of llguidance, which is Rust's regex-syntax.

If ECMA-262, Python and Rust interpret a pattern differently, the result matches what all of them
match. So an answer is valid for every validator.
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

# Character classes: the intersection, and the union, of what the three dialects match.
_NARROW = {"d": "0-9", "w": "0-9A-Za-z_", "s": r" \t\n\r\x0b\x0c"}
_WIDE = {"d": r"\p{Nd}", "w": r"\p{Alphabetic}\p{M}\p{N}\p{Pc}", "s": r"\s\x1c-\x1f\x{feff}"}
_DOT = r"[^\n\r\x{2028}\x{2029}]"
_ANCHORS = {"\\Z": r"\z"}


@lru_cache(1024)
def translated(pattern: str) -> tuple[str, ...]:
    """Return regular expressions such that a text that matches all of them matches the pattern."""
    return tuple(_translated(part) for part in without_lookarounds(pattern))


@lru_cache(1024)
def _compiled(pattern: str) -> re.Pattern[str] | None:
    try:
        return re.compile(re.sub(r"\(\?<(?![=!])", "(?P<", pattern))
    except (re.error, OverflowError):
        return None


def matches(pattern: str, text: str) -> bool | None:
    """Whether a text matches a pattern; None if Python cannot tell."""
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
    """Return the character of a surrogate pair as an escape."""
    high, low = (int(half, 16) for half in pair.groups())
    return f"\\u{{{0x10000 + ((high - 0xD800) << 10) + low - 0xDC00:x}}}"


def _outside(symbol: str) -> str:
    """Return a symbol outside of brackets in Rust's syntax."""
    if symbol == ".":
        return _DOT
    if symbol == "{":  # a literal brace, not a quantifier
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
    """Append a character class to ``made``; return the index of the symbol after it."""
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
    """Return a symbol in brackets in Rust's syntax; ``before`` is the previous symbol."""
    if symbol in ("[", "&", "~"):  # in Rust, these nest and combine classes
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
    """Return an escape in Rust's syntax, which has no escapes of other letters."""
    letter = symbol[1:]
    if letter == "0":
        return r"\x00"
    if len(letter) == 1 and not letter.isalnum() and letter not in _META:
        return letter
    return symbol

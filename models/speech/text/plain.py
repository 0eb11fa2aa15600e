"""A text without what nobody says: tags, Markdown, pictograms, control characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable

_TAG = re.compile(
    r"<!--.{0,500}?-->|</?[A-Za-z][A-Za-z0-9:-]{0,30}(?:\s[^<>]{0,500})?/?>", re.DOTALL
)
_MARKDOWN: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"^[ \t]*(```|~~~)[^\n]*$", re.MULTILINE), ""),
    (re.compile(r"!?\[([^\[\]\n]{0,500})\]\([^()\s]{0,1000}\)"), r"\1"),
    (re.compile(r"^[ \t]{0,8}(?:#{1,6}|>)[ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]{0,8}[-*+•][ \t]+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.MULTILINE), ""),
    (re.compile(r"(\*{1,3}|_{2,3}|~~)(?=\S)([^*_~\n]{1,500}?)(?<=\S)\1"), r"\2"),
    (re.compile(r"`+([^`\n]{1,500})`+"), r"\1"),
)
_JOINERS = frozenset("\u200c\u200d")  # of letters in some scripts
# The form or colour of a pictogram.
_MODIFIERS = frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0x1F3FB, 0x1F400))))
_LINE_ENDS = {"\r\n": "\n", "\r": "\n", "\u2028": "\n", "\u2029": "\n\n", "\x85": "\n"}


def plain(text: str) -> tuple[str, bool]:
    """Return a text as it is spoken, and whether tags were left out of it."""
    for end, newline in _LINE_ENDS.items():
        text = text.replace(end, newline)
    untagged = _TAG.sub(" ", text)
    tagged = untagged != text
    for pattern, replacement in _MARKDOWN:
        untagged = pattern.sub(replacement, untagged)
    spoken = "".join(map(_spoken, untagged))
    return re.sub(r"[^\S\n]+", " ", spoken).strip(), tagged


def _spoken(character: str) -> str:
    """A character, a space in place of what separates, or nothing."""
    if character in "\n" or character in _JOINERS:
        return character
    kind = unicodedata.category(character)
    if kind in {"Cc", "Zs", "Zl", "Zp", "So", "Co", "Cn"}:
        return character if character in "°©®™№" else " "
    if kind == "Cf" or character in _MODIFIERS:
        return ""
    return character

"""Cues of subtitles with lines of bounded width.

A word is never broken, and what is written without spaces only where its script allows it. A cue is
shown from its first word to its last, by the times of words.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

_LONGEST_S = 7.0  # that a cue is shown
_PAUSE_S = 1.5  # at which one ends
# Where a line must not be broken (Unicode's annex 14, and Japan's JIS X 4051): before these marks …
_NO_START = frozenset(
    "、。，．,.・：:；;？?！!‼⁇⁈⁉）)］]｝}〕〉》」』】〙〗〟’”»›〞︶﹂﹄…‥—～〜ー々〻ゝゞヽヾ％%‰℃"
    "ぁぃぅぇぉっゃゅょゎゕゖァィゥェォッャュョヮヵヶะาำๆฯ"
)
# … and behind these.
_NO_END = frozenset("（(［[｛{〔〈《「『【〘〖〝‘“«‹︵﹁﹃¥￥$＄£№#＃เแโใไ")
_FIXED_SPACES = frozenset("\u00a0\u2007\u202f")
# Written without spaces: Chinese and Japanese may be broken between any two characters.
_IDEOGRAPHIC = ((0x2E80, 0x2FDF), (0x3000, 0x30FF), (0x3100, 0x312F), (0x31A0, 0x31FF),
                (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF01, 0xFF9F),
                (0x20000, 0x3FFFF))  # fmt: skip
# Thai, Lao, Tibetan, Burmese and Khmer have words, which only a dictionary could tell.
_UNSPACED = ((0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF))


@dataclass(frozen=True)
class Cue:
    """A subtitle, with its start and end in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class _Unit:
    """Text that stays on one line, with the space before it."""

    text: str
    start: float
    end: float


def cues(segment: dict[str, Any], width: int, lines: int) -> Iterator[Cue]:
    """Yield the cues of a segment.

    Args:
        segment: faster-whisper's; without ``words``, its time is shared out by characters.
        width: how many characters a line has at most, but for a word that is longer.
        lines: how many a cue has at most.
    """
    for run in _runs(list(_units(segment, width))):
        for units in _shared_out(run, width, lines):
            rows = _balanced(units, width)
            end = min(units[-1].end, units[0].start + _LONGEST_S)
            yield Cue(units[0].start, end, "\n".join(rows))


# Where text may be broken -------------------------------------------------------------------------


def _units(segment: dict[str, Any], width: int) -> Iterator[_Unit]:
    """Yield what is not broken, in order."""
    letters = list(_letters(segment))
    for unit in _split(letters, _may_break):
        if len(_text_of(unit)) <= width:
            yield _joined(unit)
        else:
            yield from map(_joined, _split(unit, _may_break_at_need))


def _letters(segment: dict[str, Any]) -> Iterator[_Unit]:
    """Yield each character with its share of its word's time."""
    text = segment["text"].strip()
    words = segment.get("words") or []
    if "".join(word["word"] for word in words).strip() != text:
        words = [{**segment, "word": text}]
    for word in words:
        spaces = len(word["word"]) - len(word["word"].lstrip())
        said = len(word["word"]) - spaces
        each = (word["end"] - word["start"]) / max(1, said)
        for at, letter in enumerate(word["word"], start=-spaces):
            start = word["start"] + max(0, at) * each
            yield _Unit(letter, start, start + (each if at >= 0 else 0.0))


def _split(letters: Sequence[_Unit], may_break: Any) -> Iterator[list[_Unit]]:
    unit = list[_Unit]()
    for letter in letters:
        if unit and may_break(unit[-1].text, letter.text):
            yield unit
            unit = []
        unit.append(letter)
    if unit:
        yield unit


def _joined(letters: Sequence[_Unit]) -> _Unit:
    said = [letter for letter in letters if not letter.text.isspace()] or letters
    text = "".join(letter.text for letter in letters)
    return _Unit(text, said[0].start, said[-1].end)


def _may_break(left: str, right: str) -> bool:
    if right.isspace():
        return not left.isspace() and right not in _FIXED_SPACES
    if left.isspace():  # which the right one has before it
        return False
    return _may_part(left, right) and (_is_in(left, _IDEOGRAPHIC) or _is_in(right, _IDEOGRAPHIC))


def _may_break_at_need(left: str, right: str) -> bool:
    unspaced = _is_in(left, _UNSPACED) and _is_in(right, _UNSPACED)
    return unspaced and _may_part(left, right)


def _may_part(left: str, right: str) -> bool:
    joins = unicodedata.category(right).startswith("M") or "\u200d" in (left, right)
    return not joins and right not in _NO_START and left not in _NO_END


def _is_in(letter: str, ranges: Sequence[tuple[int, int]]) -> bool:
    return any(first <= ord(letter) <= last for first, last in ranges)


# Cues and their lines -----------------------------------------------------------------------------


def _runs(units: Sequence[_Unit]) -> Iterator[list[_Unit]]:
    """Yield what is said without a pause."""
    cuts = [
        at
        for at, (left, right) in enumerate(pairwise(units), start=1)
        if right.start - left.end >= _PAUSE_S
    ]
    for start, end in pairwise([0, *cuts, len(units)]):
        if run := list(units[start:end]):
            yield run


def _shared_out(units: Sequence[_Unit], width: int, lines: int) -> list[list[_Unit]]:
    """Return as few cues as can be, with about as much text in each."""
    most = width * lines
    fewest = len(_filled(units, width, lines, most))
    sizes = range(1, most)
    size = 1 + bisect_left(
        sizes, True, key=lambda size: len(_filled(units, width, lines, size)) <= fewest
    )
    return _filled(units, width, lines, size)


def _filled(units: Sequence[_Unit], width: int, lines: int, size: int) -> list[list[_Unit]]:
    """Return cues that are each as long as they can be.

    Args:
        units: what is shown.
        width: how many characters a line has at most.
        lines: how many a cue has at most.
        size: how many characters one has at most, but for a unit that is longer.
    """
    filled = list[list[_Unit]]()
    for unit in units:
        longer = [*(filled[-1] if filled else ()), unit]
        fits = len(longer) > 1 and (
            len(_text_of(longer)) <= size
            and len(_rows(longer, width)) <= lines
            and unit.end - longer[0].start <= _LONGEST_S
        )
        if fits:
            filled[-1].append(unit)
        else:
            filled.append([unit])
    return filled


def _balanced(units: Sequence[_Unit], width: int) -> list[str]:
    """Return the lines of a cue, about as long as each other."""
    count = len(_rows(units, width))
    widths = range(1, width)
    narrow = 1 + bisect_left(widths, True, key=lambda each: len(_rows(units, each)) <= count)
    return _rows(units, narrow)


def _rows(units: Sequence[_Unit], width: int) -> list[str]:
    """Return the lines that units take."""
    rows = [""]
    for unit in units:
        longer = (rows[-1] + unit.text).strip()
        if rows[-1] and len(longer) > width:
            rows.append(unit.text.strip())
        else:
            rows[-1] = longer
    return rows


def _text_of(units: Sequence[_Unit]) -> str:
    return "".join(unit.text for unit in units).strip()

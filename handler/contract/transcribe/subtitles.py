"""A transcript as SubRip or WebVTT (W3C): times are ``HH:MM:SS,mmm`` and ``HH:MM:SS.mmm``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_LINES, _WIDTH = 2, 42  # of a cue that is read with ease, where one of the two is given
_LONGEST_S = 7.0


@dataclass(frozen=True)
class Cue:
    """What is shown from when to when, in seconds."""

    start: float
    end: float
    text: str


def srt(
    segments: Sequence[dict[str, Any]], width: int | None = None, lines: int | None = None
) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    cues = (
        f"{number}\n{clock(one.start, ',')} --> {clock(one.end, ',')}\n"
        f"{one.text.replace('-->', '->')}\n\n"
        for number, one in enumerate(_cues(segments, width, lines), start=1)
    )
    return "".join(cues)


def vtt(
    segments: Sequence[dict[str, Any]], width: int | None = None, lines: int | None = None
) -> str:
    """WebVTT: a header, then cues, a point before the milliseconds."""
    cues = (
        f"{clock(one.start, '.')} --> {clock(one.end, '.')}\n{_escaped(one.text)}\n\n"
        for one in _cues(segments, width, lines)
    )
    return "WEBVTT\n\n" + "".join(cues)


def clock(seconds: float, point: str) -> str:
    """``3661.5`` becomes ``01:01:01,500``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _cues(
    segments: Sequence[dict[str, Any]], width: int | None, lines: int | None
) -> Iterator[Cue]:
    """A cue for each segment; where lines are bounded, as many as its text takes."""
    for one in segments:
        text = one["text"].strip()
        if width is None and lines is None:
            yield Cue(one["start"], one["end"], text)
        else:
            yield from _broken(one["start"], one["end"], text, width or _WIDTH, lines or _LINES)


def _broken(start: float, end: float, text: str, width: int, lines: int) -> Iterator[Cue]:
    """Cues of a segment, broken at words; each lasts as long as its share of the text."""
    least = max(1, -int(-(end - start) // _LONGEST_S))
    rows = textwrap.wrap(text, width) or [""]
    count = max(least, -(-len(rows) // lines))
    if count > 1:  # about as much text in each
        share = max(1, min(width * lines, -(-len(text) // count)))
        parts = textwrap.wrap(text, share)
        while any(len(textwrap.wrap(part, width)) > lines for part in parts) and share > width:
            share -= 1
            parts = textwrap.wrap(text, share)
    else:
        parts = [text]
    total, at = sum(len(part) for part in parts) or 1, start
    for part in parts:
        until = at + (end - start) * len(part) / total
        yield Cue(at, min(until, end), "\n".join(textwrap.wrap(part, width)))
        at = until


def _escaped(text: str) -> str:
    """Text in WebVTT: what would be a tag, an entity or a time line is not."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

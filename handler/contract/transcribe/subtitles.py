"""A transcript as SubRip or WebVTT (W3C): times are ``HH:MM:SS,mmm`` and ``HH:MM:SS.mmm``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from handler.contract.transcribe.cues import Cue, cues

_LINES, _WIDTH = 2, 42  # of a cue that is read with ease, where one of the two is given


def srt(
    segments: Sequence[dict[str, Any]], width: int | None = None, lines: int | None = None
) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    blocks = (
        f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n"
        f"{cue.text.replace('-->', '->')}\n\n"
        for number, cue in enumerate(_cues(segments, width, lines), start=1)
    )
    return "".join(blocks)


def vtt(
    segments: Sequence[dict[str, Any]], width: int | None = None, lines: int | None = None
) -> str:
    """WebVTT: a header, then cues, a point before the milliseconds."""
    blocks = (
        f"{clock(cue.start, '.')} --> {clock(cue.end, '.')}\n{_escaped(cue.text)}\n\n"
        for cue in _cues(segments, width, lines)
    )
    return "WEBVTT\n\n" + "".join(blocks)


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
    for segment in segments:
        if width is None and lines is None:
            yield Cue(segment["start"], segment["end"], segment["text"].strip())
        else:
            yield from cues(segment, width or _WIDTH, lines or _LINES)


def _escaped(text: str) -> str:
    """Text in WebVTT: what would be a tag, an entity or a time line is not."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

"""A transcript as SubRip or WebVTT (W3C): times are ``HH:MM:SS,mmm`` and ``HH:MM:SS.mmm``."""

from __future__ import annotations

from typing import Any


def srt(segments: list[dict[str, Any]]) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    cues = (
        f"{number}\n{clock(one['start'], ',')} --> {clock(one['end'], ',')}\n{_line(one)}\n\n"
        for number, one in enumerate(segments, start=1)
    )
    return "".join(cues)


def vtt(segments: list[dict[str, Any]]) -> str:
    """WebVTT: a header, then cues, a point before the milliseconds."""
    cues = (
        f"{clock(one['start'], '.')} --> {clock(one['end'], '.')}\n{_line(one)}\n\n"
        for one in segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def clock(seconds: float, point: str) -> str:
    """``3661.5`` becomes ``01:01:01,500``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _line(segment: dict[str, Any]) -> str:
    """A cue's text: an arrow in it would read as a time line."""
    text: str = segment["text"]
    return text.strip().replace("-->", "->")

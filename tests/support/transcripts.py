"""Transcripts and their subtitles."""

from __future__ import annotations

import re

LONG = (
    "It is a truth universally acknowledged, that a single man in possession of a good fortune, "
    "must be in want of a wife."
)


def parsed(text: str) -> list[tuple[float, float, str]]:
    """An independent reading of either form."""

    def seconds(stamp: str) -> float:
        hours, minutes, rest = stamp.replace(",", ".").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(rest)

    cues = []
    for block in text.removeprefix("WEBVTT\n\n").strip().split("\n\n"):
        lines = block.split("\n")
        [at] = [
            index for index, line in enumerate(lines) if re.match(r"[\d:.,]+ --> [\d:.,]+$", line)
        ]
        start, _, end = lines[at].partition(" --> ")
        cues.append((seconds(start), seconds(end), "\n".join(lines[at + 1 :])))
    return cues

"""A recording that is being written down: its samples, and what is known of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from models.surface import LeftOut
from models.transcribe.audio import RATE_HZ, Audio
from models.transcribe.request import TranscribeRequest
from models.transcribe.samples import Samples, Span

WINDOW_S = 30.0  # what Whisper hears at once
_GAP_S = 3.0  # of silence, inside a window


@dataclass
class Recording:
    """Shared by the parts of one request.

    Attributes:
        request: what is asked.
        audio: the decoded file.
        options: the library's.
        spoken: where somebody speaks; None = nobody has looked.
        language, probability: once they are known.
    """

    request: TranscribeRequest
    audio: Audio
    options: Any
    spoken: list[Span] | None
    language: str | None
    probability: float = 1.0
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def samples(self) -> Samples:
        """All of them, or of what is spoken where that is asked for."""
        return Samples(self.audio.samples, self.spoken if self.request.vad else None)


@dataclass
class Whole:
    """A part: the whole recording, window after window.

    Attributes:
        going: what goes on with it, once it is begun.
        done: its segments so far.
    """

    recording: Recording
    mel: Any
    going: Iterator[dict[str, Any]] | None = None
    done: list[dict[str, Any]] = field(default_factory=list)

    def forgotten(self) -> list[dict[str, Any]]:
        """What is done; who runs the part again begins anew."""
        done, self.going, self.done = self.done, None, []
        return done

    @property
    def windows(self) -> int:
        """About how many there are."""
        return max(1, math.ceil(len(self.recording.samples) / RATE_HZ / WINDOW_S))


@dataclass(frozen=True)
class Window:
    """A part: at most 30 s of a recording.

    Attributes:
        part: its place among the windows.
        start, end: in samples; the start is one of a frame's.
    """

    recording: Recording
    part: int
    start: int
    end: int


def windows(spans: Sequence[Span], hop: int) -> list[Span]:
    """Cut a recording where nobody speaks, into pieces of at most 30 s.

    Args:
        spans: where somebody speaks, none longer than that.
        hop: samples of a frame; each piece begins with one.
    """
    most, gap = int(WINDOW_S * RATE_HZ), int(_GAP_S * RATE_HZ)
    made: list[Span] = []
    for span_start, end in spans:
        start = span_start // hop * hop
        if made and end - made[-1][0] <= most and start - made[-1][1] <= gap:
            made[-1] = (made[-1][0], end)
        else:
            made.append((start, min(end, start + most)))
    return made


def within(segment: dict[str, Any], recording: Recording) -> dict[str, Any]:
    """A segment whose times lie inside the recording."""
    end = recording.audio.duration_s
    times = {name: min(segment[name], end) for name in ("start", "end")}
    words = [
        {**one, "start": min(one["start"], end), "end": min(one["end"], end)}
        for one in segment.get("words") or ()
    ]
    return {**segment, **times, "words": words or segment.get("words")}


def plain(value: Any) -> Any:
    """The same without numpy: word times come as numpy's floats, which are no JSON."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return float(value) if isinstance(value, float) else value

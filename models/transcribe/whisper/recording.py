"""A recording that is being written down: its samples, and what is known of it."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from models.leniency import LeftOut
from models.transcribe.audio.decoding import Audio
from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples, Span
from models.transcribe.request import TranscribeRequest

WINDOW_S = 30.0  # what Whisper hears at once
_GAP_S = 3.0  # of silence that is cut out amid a window: a sentence may go on behind it


@dataclass
class Recording:
    """Shared by the parts of one request.

    Attributes:
        request: what is asked.
        audio: the decoded file.
        options: the library's.
        spoken: what of it is heard; None = all of it.
        language, probability: once they are known.
        speech: where somebody speaks, which says the language; None = nobody has looked.
        voiced: the same more closely; empty = times are to be the model's own.
    """

    request: TranscribeRequest
    audio: Audio
    options: Any
    spoken: list[Span] | None
    language: str | None
    probability: float = 1.0
    left_out: list[LeftOut] = field(default_factory=list)
    speech: list[Span] | None = None
    voiced: Sequence[Span] = ()

    @property
    def samples(self) -> Samples:
        """What is heard, put end to end."""
        return Samples(self.audio.samples, self.spoken)


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


@dataclass
class Window:
    """A part: at most 30 s of what is spoken, put end to end.

    Attributes:
        part: its place among the windows.
        spans: of the recording.
        seconds: how far it goes beyond the one before, silence included.
        going: what is known of it, once it is begun.
    """

    recording: Recording
    part: int
    spans: tuple[Span, ...]
    seconds: float
    going: Any = None


def windows(recording: Recording, spans: Sequence[Span]) -> list[Window]:
    """Put what is spoken into as few windows as can be, about as much into each.

    Args:
        recording: of what.
        spans: where somebody speaks, none longer than a window.
    """
    most = int(WINDOW_S * RATE_HZ)
    count = len(_packed(spans, most))
    # The smallest size that takes no more of them: a run is as long as its longest.
    least = max((end - start for start, end in spans), default=0)
    sizes = range(least, max(least, most))
    size = least + bisect_left(sizes, True, key=lambda one: len(_packed(spans, one)) <= count)
    made, before = list[Window](), 0.0
    for part, packed in enumerate(_packed(spans, size)):
        last = part == count - 1
        until = recording.audio.duration_s if last else packed[-1][1] / RATE_HZ
        made.append(Window(recording, part, tuple(packed), until - before))
        before = until
    return made


def covering(spans: Sequence[Span], length: int) -> list[Span]:
    """All of a recording, cut in the middle of the silences, into spans of at most a window."""
    most = int(WINDOW_S * RATE_HZ)
    cuts = [(left[1] + right[0]) // 2 for left, right in pairwise(spans)]
    edges = [0, *cuts, length]
    return [
        (at, min(at + most, end))
        for start, end in pairwise(edges)
        for at in range(start, end, most)
    ]


def beginning(spans: Sequence[Span], seconds: float) -> list[Span]:
    """The first seconds of what lies in spans."""
    left, taken = int(seconds * RATE_HZ), list[Span]()
    for start, end in spans:
        if left <= 0:
            break
        taken.append((start, min(end, start + left)))
        left -= end - start
    return taken


def _packed(spans: Sequence[Span], most: int) -> list[list[Span]]:
    packed, size = list[list[Span]](), 0
    for start, end in spans:
        near = bool(packed) and start - packed[-1][-1][1] <= _GAP_S * RATE_HZ
        if near and size + end - start <= most:
            packed[-1].append((start, end))
            size += end - start
        else:
            packed.append([(start, end)])
            size = end - start
    return packed


def within(segment: dict[str, Any], recording: Recording) -> dict[str, Any]:
    """A segment whose times lie inside the recording."""
    end = recording.audio.duration_s
    times = {name: min(segment[name], end) for name in ("start", "end")}
    words = [
        {**one, "start": min(one["start"], end), "end": min(one["end"], end)}
        for one in segment.get("words") or ()
    ]
    return {**segment, **times, "words": words or segment.get("words")}


def as_json(value: Any) -> Any:
    """The same without numpy: word times come as numpy's floats, which are no JSON."""
    if isinstance(value, dict):
        return {key: as_json(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(one) for one in value]
    return float(value) if isinstance(value, float) else value

"""A recording in transcription: its samples, language, speech and windows."""

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

WINDOW_S = 30.0  # the longest audio that Whisper reads at once
_GAP_S = 3.0  # the longest silence cut out within a window: a sentence may continue after it


@dataclass
class Recording:
    """The data that the parts of one request share.

    Attributes:
        request: the request.
        audio: the decoded file.
        options: the library's options.
        spoken: the spans to transcribe; None = the whole recording.
        language, probability: the language and its probability, once they are known.
        left_out: the request's fields that were not applied.
        speech: the spans of speech, used to detect the language; None = not computed.
        voiced: finer spans of speech; empty = keep the model's own times.
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
        """The audio to transcribe, concatenated."""
        return Samples(self.audio.samples, self.spoken)


@dataclass
class Whole:
    """A part: the whole recording, window after window.

    Attributes:
        going: the iterator over its further segments, once it is started.
        done: its segments so far.
    """

    recording: Recording
    mel: Any
    going: Iterator[dict[str, Any]] | None = None
    done: list[dict[str, Any]] = field(default_factory=list)

    def forgotten(self) -> list[dict[str, Any]]:
        """Reset the part, and return its segments so far; running it again starts afresh."""
        done, self.going, self.done = self.done, None, []
        return done

    @property
    def windows(self) -> int:
        """The approximate number of windows."""
        return max(1, math.ceil(len(self.recording.samples) / RATE_HZ / WINDOW_S))


@dataclass
class Window:
    """A part: at most 30 s of speech, concatenated.

    Attributes:
        part: its index among the windows.
        spans: its spans of the recording.
        seconds: by how much it advances in the recording, silence included.
        going: its state, once it is started.
    """

    recording: Recording
    part: int
    spans: tuple[Span, ...]
    seconds: float
    going: Any = None


def windows(recording: Recording, spans: Sequence[Span]) -> list[Window]:
    """Pack spans of speech into the smallest number of windows, of about equal size.

    Args:
        recording: the recording.
        spans: the spans of speech, none longer than a window.
    """
    most = int(WINDOW_S * RATE_HZ)
    count = len(_packed(spans, most))
    # Find the smallest window size with this count: a run takes as long as its longest window.
    least = max((end - start for start, end in spans), default=0)
    sizes = range(least, max(least, most))
    size = least + bisect_left(sizes, True, key=lambda size: len(_packed(spans, size)) <= count)
    made, before = list[Window](), 0.0
    for part, packed in enumerate(_packed(spans, size)):
        last = part == count - 1
        until = recording.audio.duration_s if last else packed[-1][1] / RATE_HZ
        made.append(Window(recording, part, tuple(packed), until - before))
        before = until
    return made


def covering(spans: Sequence[Span], length: int) -> list[Span]:
    """Return spans of at most a window that cover the recording, cut in the middle of silences."""
    most = int(WINDOW_S * RATE_HZ)
    cuts = [(left[1] + right[0]) // 2 for left, right in pairwise(spans)]
    edges = [0, *cuts, length]
    return [
        (at, min(at + most, end))
        for start, end in pairwise(edges)
        for at in range(start, end, most)
    ]


def beginning(spans: Sequence[Span], seconds: float) -> list[Span]:
    """Return the first seconds of the given spans."""
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
    """Return a segment whose times lie inside the recording."""
    end = recording.audio.duration_s
    times = {name: min(segment[name], end) for name in ("start", "end")}
    words = [
        {**word, "start": min(word["start"], end), "end": min(word["end"], end)}
        for word in segment.get("words") or ()
    ]
    return {**segment, **times, "words": words or segment.get("words")}


def as_json(value: Any) -> Any:
    """Return a value with Python floats: numpy's, as in word times, cannot be encoded as JSON."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    return float(value) if isinstance(value, float) else value

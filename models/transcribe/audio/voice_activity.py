"""Where somebody speaks: Silero's voice activity network over a recording, block by block.

What it says of each 32 ms becomes spans by the rules of faster-whisper's ``get_speech_timestamps``
(which needs all samples at once); the spans are the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples, Span

WINDOW = 512  # samples that the network says something of
_CONTEXT = 64  # that it sees of those before
_BLOCK_WINDOWS = 2000  # 64 s
_SPLIT_SILENCE_MS = 98  # where a span that is too long may end


@dataclass(frozen=True)
class VadOptions:
    """As faster-whisper's.

    Attributes:
        threshold: from which probability on it is speech.
        neg_threshold: below which it is none any more; None = 0.15 less.
        min_speech_duration_ms: shorter spans are left out.
        max_speech_duration_s: longer ones are split.
        min_silence_duration_ms: a span ends after as much silence.
        speech_pad_ms: what is added at both ends of a span.
    """

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: float = 0
    max_speech_duration_s: float = math.inf
    min_silence_duration_ms: float = 2000
    speech_pad_ms: float = 400


# Silero's ends of speech are a tenth of a second or so from those that the ear hears.
_CLOSE = VadOptions(min_silence_duration_ms=200, speech_pad_ms=150)


@dataclass(frozen=True)
class Activity:
    """Where somebody speaks, in samples, in order.

    Attributes:
        spans: by the options that were given.
        voiced: the same more closely: without pauses of 0.2 s and more.
        seconds: how much speech there is, without what is added around it.
    """

    spans: list[Span]
    voiced: list[Span]
    seconds: float


def activity(samples: Samples, options: VadOptions) -> Activity:
    """Find where somebody speaks."""
    said, length = probabilities(samples), len(samples)
    found = list(_spoken(said, length, options))
    close = replace(_CLOSE, threshold=options.threshold, neg_threshold=options.neg_threshold)
    closely = list(_spoken(said, length, close))
    return Activity(
        _padded(found, length, options.speech_pad_ms * RATE_HZ / 1000),
        _padded(closely, length, close.speech_pad_ms * RATE_HZ / 1000),
        sum(end - start for start, end in closely) / RATE_HZ,
    )


def spans(samples: Samples, options: VadOptions) -> list[Span]:
    """Where somebody speaks, in samples, in order."""
    return activity(samples, options).spans


def probabilities(samples: Samples) -> Any:
    """How likely each window is speech; float32, shape (windows,)."""
    import numpy as np
    from faster_whisper.vad import get_vad_model

    session = get_vad_model().session
    h: Any = np.zeros((1, 1, 128), np.float32)
    c: Any = h
    before: Any = np.zeros(_CONTEXT, np.float32)
    said = []
    windows = len(samples) // WINDOW + 1  # as the library: always some silence at the end
    for first in range(0, windows, _BLOCK_WINDOWS):
        count = min(_BLOCK_WINDOWS, windows - first)
        cut = samples.cut(first * WINDOW, min((first + count) * WINDOW, len(samples)))
        block = np.pad(cut, (0, count * WINDOW - len(cut))).reshape(count, WINDOW)
        contexts = np.concatenate([before[None], block[:-1, -_CONTEXT:]])
        given = {"input": np.concatenate([contexts, block], 1), "h": h, "c": c}
        out, h, c = session.run(None, given)
        before = block[-1, -_CONTEXT:]
        said.append(out.reshape(-1))
    return np.concatenate(said)


class _Span:
    """Speech that has begun; ``silence`` is where it may end, ``split`` where it might be split."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.silence = self.split = self._after_split = 0

    def speaks(self, now: int) -> None:
        """There is speech again."""
        if self.silence and self._after_split < self.split:
            self._after_split = now
        self.silence = 0

    def is_over(self, now: int, silence: float) -> bool:
        """There is none: whether that has lasted long enough."""
        self.silence = self.silence or now
        if now - self.silence > RATE_HZ * _SPLIT_SILENCE_MS / 1000:
            self.split = self.silence
        return now - self.silence >= silence

    def rest(self) -> _Span | None:
        """What goes on after the split."""
        goes_on = self.split and self._after_split >= self.split
        return _Span(self._after_split) if goes_on else None


def _spoken(said: Sequence[float], length: int, options: VadOptions) -> Iterator[Span]:
    """Spans from where it is speech until it has been silent for long enough, or too long."""
    least = RATE_HZ * options.min_speech_duration_ms / 1000
    most = RATE_HZ * (options.max_speech_duration_s - 2 * options.speech_pad_ms / 1000) - WINDOW
    silence = RATE_HZ * options.min_silence_duration_ms / 1000
    low = options.neg_threshold
    low = max(options.threshold - 0.15, 0.01) if low is None else low
    span: _Span | None = None
    for index, probability in enumerate(said):
        now, speaks = WINDOW * index, probability >= options.threshold
        if span is None:
            span = _Span(now) if speaks else None
            continue
        if speaks:
            span.speaks(now)
        if now - span.start > most:
            yield span.start, span.split or now
            span = span.rest()
        if span is not None and probability < low and span.is_over(now, silence):
            if span.silence - span.start > least:
                yield span.start, span.silence
            span = None
    if span is not None and length - span.start > least:
        yield span.start, length


def _padded(found: Sequence[Span], length: int, pad: float) -> list[Span]:
    """Spans with something around them; two that come near share what is between."""
    edges = [list(one) for one in found]
    if edges:
        edges[0][0] = int(max(0, edges[0][0] - pad))
        edges[-1][1] = int(min(length, edges[-1][1] + pad))
    for left, right in pairwise(edges):
        between = right[0] - left[1]
        if between < 2 * pad:
            left[1], right[0] = left[1] + between // 2, max(0, right[0] - between // 2)
        else:
            left[1], right[0] = int(min(length, left[1] + pad)), int(max(0, right[0] - pad))
    return [(start, end) for start, end in edges]

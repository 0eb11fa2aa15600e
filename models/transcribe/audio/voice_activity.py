"""Detect speech: Silero's voice activity network over a recording, block by block.

The probabilities of its 32 ms windows become spans by the rules of faster-whisper's
``get_speech_timestamps``, which needs all samples at once. The spans are identical.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples, Span

WINDOW = 512  # samples per probability
_CONTEXT = 64  # preceding samples that the network also reads
_BLOCK_WINDOWS = 2000  # 64 s
_SPLIT_SILENCE_MS = 98  # the shortest silence at which a span that is too long is split


@dataclass(frozen=True)
class VadOptions:
    """faster-whisper's options of the same names.

    Attributes:
        threshold: the probability from which on a window is speech.
        neg_threshold: the probability below which speech ends; None = 0.15 less than ``threshold``.
        min_speech_duration_ms: shorter spans are dropped.
        max_speech_duration_s: longer spans are split.
        min_silence_duration_ms: a span ends after a silence of this length.
        speech_pad_ms: added at both ends of a span.
    """

    threshold: float = 0.5
    neg_threshold: float | None = None
    min_speech_duration_ms: float = 0
    max_speech_duration_s: float = math.inf
    min_silence_duration_ms: float = 2000
    speech_pad_ms: float = 400


# Silero's speech ends are about a tenth of a second off those that one hears.
_CLOSE = VadOptions(min_silence_duration_ms=200, speech_pad_ms=150)


@dataclass(frozen=True)
class Activity:
    """The speech of a recording, as spans of samples in order.

    Attributes:
        spans: by the given options.
        voiced: finer spans, without pauses of 0.2 s and more.
        seconds: the duration of speech, without padding.
    """

    spans: list[Span]
    voiced: list[Span]
    seconds: float


def activity(samples: Samples, options: VadOptions) -> Activity:
    """Detect speech in a recording."""
    likelihoods, length = probabilities(samples), len(samples)
    speech = list(_spoken(likelihoods, length, options))
    close = replace(_CLOSE, threshold=options.threshold, neg_threshold=options.neg_threshold)
    closely = list(_spoken(likelihoods, length, close))
    return Activity(
        _padded(speech, length, options.speech_pad_ms * RATE_HZ / 1000),
        _padded(closely, length, close.speech_pad_ms * RATE_HZ / 1000),
        sum(end - start for start, end in closely) / RATE_HZ,
    )


def spans(samples: Samples, options: VadOptions) -> list[Span]:
    """Return the spans of speech in a recording, in order."""
    return activity(samples, options).spans


def probabilities(samples: Samples) -> Any:
    """Return the probability of speech in each window; float32, shape (windows,)."""
    import numpy as np
    from faster_whisper.vad import get_vad_model

    session = get_vad_model().session
    h: Any = np.zeros((1, 1, 128), np.float32)
    c: Any = h
    before: Any = np.zeros(_CONTEXT, np.float32)
    blocks = []
    windows = len(samples) // WINDOW + 1  # as in the library: some silence is always added
    for first in range(0, windows, _BLOCK_WINDOWS):
        count = min(_BLOCK_WINDOWS, windows - first)
        cut = samples.cut(first * WINDOW, min((first + count) * WINDOW, len(samples)))
        block = np.pad(cut, (0, count * WINDOW - len(cut))).reshape(count, WINDOW)
        contexts = np.concatenate([before[None], block[:-1, -_CONTEXT:]])
        inputs = {"input": np.concatenate([contexts, block], 1), "h": h, "c": c}
        out, h, c = session.run(None, inputs)
        before = block[-1, -_CONTEXT:]
        blocks.append(out.reshape(-1))
    return np.concatenate(blocks)


class _Span:
    """Speech in progress: ``silence`` is where it may end, ``split`` where it may be split."""

    def __init__(self, start: int) -> None:
        self.start = start
        self.silence = self.split = self._after_split = 0

    def speaks(self, now: int) -> None:
        """Note that ``now`` is speech."""
        if self.silence and self._after_split < self.split:
            self._after_split = now
        self.silence = 0

    def is_over(self, now: int, silence: float) -> bool:
        """Note that ``now`` is silence, and return whether the silence is long enough."""
        self.silence = self.silence or now
        if now - self.silence > RATE_HZ * _SPLIT_SILENCE_MS / 1000:
            self.split = self.silence
        return now - self.silence >= silence

    def rest(self) -> _Span | None:
        """Return the speech after the split, if there is any."""
        goes_on = self.split and self._after_split >= self.split
        return _Span(self._after_split) if goes_on else None


def _spoken(likelihoods: Sequence[float], length: int, options: VadOptions) -> Iterator[Span]:
    """Yield spans of speech, each ended by a long silence or by the longest duration."""
    least = RATE_HZ * options.min_speech_duration_ms / 1000
    most = RATE_HZ * (options.max_speech_duration_s - 2 * options.speech_pad_ms / 1000) - WINDOW
    silence = RATE_HZ * options.min_silence_duration_ms / 1000
    low = options.neg_threshold
    low = max(options.threshold - 0.15, 0.01) if low is None else low
    span: _Span | None = None
    for index, probability in enumerate(likelihoods):
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


def _padded(speech: Sequence[Span], length: int, pad: float) -> list[Span]:
    """Return the spans with padding; neighbours that are closer than that share the gap."""
    edges = [list(span) for span in speech]
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

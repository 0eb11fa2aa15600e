"""Convert the model's times, in concatenated stretches of audio, to times in the recording.

The model's times are coarse: a segment may begin in the silence before its first word, or extend to
the end of a pause. If a silence was cut out, such a segment would begin long before its first word
is spoken. So segments and words are moved to where there is speech, and a segment with a pause in
it is split.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples, Span

_PAUSE_S = 1.7  # the pause that splits a segment: silence of 2 s, without the padding of speech
_BREAK_S = 0.5  # no word extends across a pause of this length
_TOUCH_S = 0.1  # a segment that overlaps speech by less does not include it
_NEAR_S = 0.3  # how far from speech a word may be, as the model's times are inexact
_LEAST_S = 0.1  # the shortest duration of a word
_SHORT_S = 0.2  # a word before a pause that is cut shorter may be the first one after it
_SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", ",", ";", ":", "，", "、")

Word = dict[str, Any]  # ``word``, ``start``, ``end``, ``probability``
Align = Callable[[dict[str, Any]], list[Word]]


@dataclass(frozen=True)
class _Voice:
    """A stretch of speech, in the model's seconds, and what to add to get the recording's."""

    start: float
    end: float
    later: float


class Placing:
    """Converts the times of segments and words.

    Args:
        whole: the recording.
        spans: the parts of it that the model reads.
        voiced: the spans of speech; empty = unknown, and the model's times are only shifted.
    """

    def __init__(self, whole: Any, spans: Sequence[Span], voiced: Sequence[Span]) -> None:
        self._samples = Samples(whole, spans)
        self._voices = list(_within(spans, voiced))
        self._starts = [voice.start for voice in self._voices]
        self._ends = [voice.end for voice in self._voices]

    def placed(self, segment: dict[str, Any], align: Align, tokenizer: Any) -> list[dict[str, Any]]:
        """Return a segment with the recording's times, split at pauses.

        Args:
            segment: faster-whisper's segment, in the model's seconds.
            align: computes the words' times of a segment that has none.
            tokenizer: maps tokens to words.
        """
        words: list[Word] = segment.get("words") or []
        timed = bool(words)
        if not words:
            voices = self._touched(segment["start"], segment["end"])
            if any(_gap(left, right) >= _PAUSE_S for left, right in pairwise(voices)):
                words = align(segment)
            if not words or _text(words) != segment["text"]:
                return [{**segment, **self._times(voices, segment)}]
        placed = [self._word(word) for word in words]
        divisible = bool(self._voices) and _text(placed) == segment["text"]
        parts = list(self._parts(words, placed)) if divisible else [placed]
        tokens: Iterable[dict[str, Any]] = [{}]
        if len(parts) > 1:
            tokens = _shared(segment, [_text(part) for part in parts], tokenizer)
        return [
            {
                **segment,
                **mine,
                "start": part[0]["start"],
                "end": part[-1]["end"],
                "text": _text(part) if divisible else segment["text"],
                "words": part if timed else segment.get("words"),
            }
            for part, mine in zip(parts, tokens, strict=True)
        ]

    def _touched(self, start: float, end: float) -> list[_Voice]:
        """Return the stretches of speech that a segment overlaps."""
        voices = self._of(start, end)
        return [voice for voice in voices if _overlap(voice, start, end) >= _TOUCH_S] or voices

    def _word(self, word: Word) -> Word:
        """Return a word with the recording's times: those of the speech that it overlaps most."""
        start, end = word["start"], word["end"]
        groups = list(_unbroken(self._of(start, end)))
        shares = [sum(_overlap(voice, start, end) for voice in group) for group in groups]
        voices = groups[shares.index(max(shares))] if groups else []
        return {**word, **self._times(voices, word)}

    def _parts(self, original: Sequence[Word], placed: Sequence[Word]) -> Iterator[list[Word]]:
        """Yield the groups of words between pauses.

        Args:
            original: the words with the model's times.
            placed: the words with the recording's times.
        """
        part = list[Word]()
        for at, word in enumerate(placed):
            if part and word["start"] - part[-1]["end"] >= _PAUSE_S:
                begun = [part.pop()] if self._begins_behind(part, original[at - 1]) else []
                if part:
                    yield part
                part = [{**early, "start": word["start"], "end": word["start"]} for early in begun]
            part.append(word)
        yield part

    def _begins_behind(self, part: Sequence[Word], original: Word) -> bool:
        """Whether the last word before a pause is rather the first of a sentence after it.

        The model starts such a word too early, up to half a second before the pause. The first
        word of a segment starts with the segment, so its end decides: if it ends in the speech
        after the pause, it belongs there. Any other word belongs there if little of it overlaps
        the speech before.

        Args:
            part: the words before the pause.
            original: the last of them, with the model's times.
        """
        last = part[-1]
        if last["word"].strip().endswith(_SENTENCE_ENDS):
            return False
        if len(part) == 1:
            behind = self._of(original["start"], original["end"])[-1:]
            if any(voice.start + voice.later > last["end"] for voice in behind):
                return True
        seconds = last["end"] - last["start"]
        cut_short = original["end"] - original["start"] - seconds > _TOUCH_S
        first = len(part) == 1 or part[-2]["word"].strip().endswith(_SENTENCE_ENDS)
        return bool(first and cut_short and seconds < _SHORT_S)

    def _times(self, voices: Sequence[_Voice], timed: dict[str, Any]) -> dict[str, float]:
        """Return the recording's times of a segment or word, limited to the speech it overlaps."""
        start, end = timed["start"], timed["end"]
        if not voices:
            first, last = self._samples.offset(start), self._samples.offset(end, ends=True)
            if "word" in timed:
                first = last = self._samples.offset((start + end) / 2)  # keep both in one span
            return _rounded(start + first, end + last)
        first, last = voices[0].later, voices[-1].later
        if _overlap(voices[0], start, end) <= 0:  # near speech, but outside
            return _rounded(start + first, end + last)
        begins = max(start, voices[0].start)
        ends = min(end, voices[-1].end)
        if first == last and ends - begins < _LEAST_S:
            begins = max(start, min(begins, ends - _LEAST_S))
            ends = min(end, max(ends, begins + _LEAST_S))
        return _rounded(begins + first, ends + last)

    def _of(self, start: float, end: float) -> list[_Voice]:
        """Return the speech between two times, or else the nearest speech, if it is near enough."""
        first, last = bisect_right(self._ends, start), bisect_left(self._starts, end)
        if first < last:
            return self._voices[first:last]
        around = self._voices[max(0, first - 1) : first + 1]
        near = [voice for voice in around if -_overlap(voice, start, end) <= _NEAR_S]
        return [max(near, key=lambda voice: _overlap(voice, start, end))] if near else []


def _within(spans: Sequence[Span], voiced: Sequence[Span]) -> Iterator[_Voice]:
    """Yield the speech in the spans, in seconds of the concatenated spans."""
    done = 0
    for begin, end in spans:
        at = bisect_right(voiced, begin, key=lambda span: span[1])
        while at < len(voiced) and voiced[at][0] < end:
            start, stop = max(begin, voiced[at][0]), min(end, voiced[at][1])
            before = begin - done
            yield _Voice((start - before) / RATE_HZ, (stop - before) / RATE_HZ, before / RATE_HZ)
            at += 1
        done += end - begin


def _unbroken(voices: Sequence[_Voice]) -> Iterator[list[_Voice]]:
    """Yield groups of speech that are not separated by a break."""
    group = list[_Voice]()
    for voice in voices:
        if group and _gap(group[-1], voice) >= _BREAK_S:
            yield group
            group = []
        group.append(voice)
    if group:
        yield group


def _rounded(start: float, end: float) -> dict[str, float]:
    return {"start": round(start, 2), "end": round(max(start, end), 2)}


def _gap(left: _Voice, right: _Voice) -> float:
    return right.start + right.later - left.end - left.later


def _overlap(voice: _Voice, start: float, end: float) -> float:
    return min(voice.end, end) - max(voice.start, start)


def _text(words: Sequence[Word]) -> str:
    return "".join(word["word"] for word in words)


def _shared(
    segment: dict[str, Any], texts: Sequence[str], tokenizer: Any
) -> Iterator[dict[str, Any]]:
    """Yield the tokens of each part of a segment, and their log probabilities if known."""
    logs = segment.get("logprobs")
    tokens = [token for token in segment["tokens"] if token < tokenizer.eot]
    _, spelled = tokenizer.split_to_word_tokens([*tokens, tokenizer.eot])
    ends, length, words, taken = list[int](), 0, iter(spelled), list[int]()
    for text in texts[:-1]:
        length += len(text)
        while len(tokenizer.decode(taken)) < length:
            taken += next(words)
        ends.append(len(taken))
    for start, end in pairwise([0, *ends, len(tokens)]):
        part = tokens[start:end]
        yield {"tokens": part} | ({} if logs is None else {"logprobs": logs[start:end]})

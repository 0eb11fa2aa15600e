"""Speakers: a transcript's segments, cut where the speaker changes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate, groupby
from typing import Any, Literal, TypedDict

from models.transcribe.request import Turn

_NOBODY = "A"  # speaks where nobody was heard to


class DiarizedSegment(TypedDict):
    """OpenAI's TranscriptionDiarizedSegment; times in seconds."""

    id: str
    type: Literal["transcript.text.segment"]
    start: float
    end: float
    speaker: str
    text: str


def told_apart(
    segments: Sequence[dict[str, Any]], turns: Sequence[Turn] | Turns, first: int = 0
) -> Iterator[DiarizedSegment]:
    """Segments of one speaker each, as ``diarized_json`` has them.

    A word is its whose turns it lies in for longest; in none, whose turn is nearest.

    Args:
        segments: faster-whisper's, with the times of their words where there are any.
        turns: who speaks when; in order already, where it is asked segment by segment.
        first: the number of the first one.
    """
    heard = turns if isinstance(turns, Turns) else Turns(turns)
    number = first
    for segment in segments:
        words = segment.get("words") or [{**segment, "word": segment["text"]}]
        for speaker, said in groupby(words, key=heard.speaker):
            together = list(said)
            yield {
                "id": f"seg_{number:03d}",
                "type": "transcript.text.segment",
                "start": together[0]["start"],
                "end": together[-1]["end"],
                "speaker": speaker,
                "text": "".join(word["word"] for word in together),
            }
            number += 1


class Turns:
    """Turns by their starts: an hour has thousands, and as many words ask for theirs."""

    def __init__(self, turns: Sequence[Turn]) -> None:
        self._turns = sorted(turns, key=lambda turn: turn.start)
        self._starts = [turn.start for turn in self._turns]
        self._last = list(accumulate(self._turns, _later))  # up to each, the one that ends last

    def speaker(self, word: dict[str, Any]) -> str:
        """The speaker's label."""
        start, end = word["start"], word["end"]
        after = bisect_left(self._starts, end)
        said: dict[str, float] = {}
        for index in range(after - 1, -1, -1):
            if self._last[index].end <= start:
                break
            turn = self._turns[index]
            if (seconds := min(end, turn.end) - max(start, turn.start)) > 0:
                said[turn.speaker] = said.get(turn.speaker, 0.0) + seconds
        return max(said, key=said.__getitem__) if said else self._nearest(start, end, after)

    def _nearest(self, start: float, end: float, after: int) -> str:
        before = [
            (start - turn.end, turn.speaker) for turn in self._last[max(0, after - 1) : after]
        ]
        behind = [(turn.start - end, turn.speaker) for turn in self._turns[after : after + 1]]
        return min(before + behind, default=(0.0, _NOBODY))[1]


def _later(left: Turn, right: Turn) -> Turn:
    return left if left.end >= right.end else right

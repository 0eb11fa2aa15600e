"""Segments as the events of a stream, ``transcript.text.delta`` and ``transcript.text.segment``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from handler.contract.transcribe.speakers import Turns, told_apart
from models.transcribe.request import Heard


class Telling:
    """Segments as the events of a stream."""

    def __init__(self) -> None:
        self._begun = False
        self._number = 0

    def events(self, segment: dict[str, Any], turns: Turns | None) -> Iterator[dict[str, Any]]:
        """A segment's text, and who says which part of it."""
        if turns is None:
            more = {"logprobs": segment["logprobs"]} if "logprobs" in segment else {}
            yield {**self._delta(segment["text"]), **more}
            return
        for piece in told_apart([segment], turns, self._number):
            self._number += 1
            yield {**self._delta(piece["text"]), "segment_id": piece["id"]}
            yield {**piece}

    def _delta(self, text: str) -> dict[str, Any]:
        told = text if self._begun else text.lstrip()
        self._begun = True
        return {"type": "transcript.text.delta", "delta": told}


class InOrder:
    """Segments of parts that come in any order, in the order of the recording."""

    def __init__(self) -> None:
        self._part = 0
        self._waiting: dict[int, Heard] = {}

    def next(self, heard: Heard) -> list[dict[str, Any]]:
        """Yield the text that is certain by now."""
        if not heard.last:
            return list(heard.segments)
        self._waiting[heard.part] = heard
        told: list[dict[str, Any]] = []
        while (ready := self._waiting.pop(self._part, None)) is not None:
            told += ready.segments
            self._part += 1
        return told


def merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any] | None:
    """Two deltas of one speaker as one; None where they are not that."""
    if not left["type"] == right["type"] == "transcript.text.delta":
        return None
    if left.get("segment_id") != right.get("segment_id"):
        return None
    both: dict[str, Any] = {
        name: left[name] + right[name] for name in ("delta", "logprobs") if name in left
    }
    return {**left, **both}

"""One choice's tokens as text, while it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from handler.contract.chat.stops import StopStrings
from models.chat.protocols import Reader, Text
from models.chat.request import Called, Logprob, Piece, Said


@dataclass(frozen=True)
class Spelled:
    """A token in an answer, and what is known of its probability.

    Attributes:
        at: where its text begins in the answer's, in characters.
        top: the likeliest tokens at its place.
    """

    content: bytes
    logprob: float
    at: int
    top: Sequence[tuple[bytes, float]]


@dataclass(frozen=True)
class Delta:
    """A new piece of one choice.

    Attributes:
        finish_reason: of the last piece: why the choice has ended.
        stop: of the last piece: the stop string that ended it, None where none did.
    """

    choice: int
    pieces: Sequence[Piece] = ()
    logprobs: Sequence[Spelled] = ()
    finish_reason: str | None = None
    stop: str | None = None


class ChoiceText:
    """Turns tokens into text: whole characters, no stop strings, calls apart from words.

    Args:
        index: of the choice.
        text: the model's, which decodes.
        stops: where it ends.
        reading: tells calls and thoughts from words; None = all are words.
        before: the prompt's tokens.
        several: whether there may be more than one call.

    Attributes:
        tokens: how many there were.
        thought_tokens: how many of them were thought.
        ended: whether there is no more to come.
    """

    def __init__(
        self,
        index: int,
        text: Text,
        stops: Sequence[str],
        reading: Reader | None,
        before: Sequence[int] = (),
        *,
        several: bool = True,
    ) -> None:
        self.tokens = self.thought_tokens = 0
        self.ended = False
        self._index = index
        self._text = text
        self._reading = reading
        self._several = several
        self._decoder = text.decoder(before, read=reading is not None)
        self._stops = StopStrings(stops)
        self._called = False
        self._heard = self._shown = 0  # characters: decoded, and of them shown
        self._held: deque[tuple[int, Spelled]] = deque()

    def push(self, token: int, logprob: Logprob | None) -> Delta | None:
        """Return the text that a token completes; None where it completes none yet."""
        self.tokens += 1
        heard = self._decoder.push(token)
        at = self._heard
        self._heard += len(heard)
        if logprob is not None:
            self._held.append((self._heard, self._spelled(logprob, at)))
        shown = self._stops.push(heard)
        self._shown += len(shown)
        if self._stops.found:
            return self._end("stop", shown)
        pieces = self._read(shown)
        if self._reading is not None and self._reading.thinks:
            self.thought_tokens += 1
        if self._called and not self._several:
            return self._ended("stop", pieces)
        logprobs = self._let_go()
        return Delta(self._index, pieces, logprobs) if pieces or logprobs else None

    def end(self, reason: str) -> Delta:
        """Return the text held back, once the model has ended."""
        rest = self._stops.flush()
        self._shown += len(rest)
        return self._end(reason, rest)

    def _end(self, reason: str, text: str) -> Delta:
        pieces = self._read(text)
        if self._reading is not None:
            pieces = [*pieces, *self._noted(self._reading.end(cut=reason == "length"))]
        return self._ended(reason, pieces)

    def _ended(self, reason: str, pieces: Sequence[Piece]) -> Delta:
        self.ended = True
        if reason == "stop" and self._called:
            reason = "tool_calls"
        return Delta(self._index, pieces, self._let_go(), reason, self._stops.found)

    def _read(self, text: str) -> Sequence[Piece]:
        if not text:
            return ()
        return (Said(text),) if self._reading is None else self._noted(self._reading.push(text))

    def _noted(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        told: list[Piece] = []
        for piece in pieces:
            if self._called and not self._several:
                break
            told.append(piece)
            self._called = self._called or isinstance(piece, Called)
        return told

    def _let_go(self) -> Sequence[Spelled]:
        """The tokens whose text is shown."""
        told = []
        while self._held and self._held[0][0] <= self._shown:
            told.append(self._held.popleft()[1])
        return told

    def _spelled(self, known: Logprob, at: int) -> Spelled:
        top = tuple((self._text.spelled(token), _number(value)) for token, value in known.top)
        return Spelled(self._text.spelled(known.token), _number(known.logprob), at, top)


def _number(logprob: float) -> float:
    """JSON has no infinity; this is OpenAI's word for what cannot be."""
    return max(logprob, -9999.0)


def merged(deltas: Sequence[Delta]) -> Mapping[str, Any]:
    """All that was said of one choice: texts, thoughts, calls, logprobs and how it ended."""
    said: dict[str, Any] = {"text": "", "thought": "", "calls": [], "logprobs": []}
    for delta in deltas:
        for piece in delta.pieces:
            if isinstance(piece, Called):
                said["calls"].append(piece)
            elif isinstance(piece, Said):
                said["text"] += piece.text
            else:
                said["thought"] += piece.text
        said["logprobs"] += delta.logprobs
        said["finish_reason"] = delta.finish_reason
    return said

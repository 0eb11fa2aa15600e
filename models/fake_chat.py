"""A chat engine without weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from models.chat.families import FAMILIES
from models.chat.protocols import Text
from models.chat.reading import Reading
from models.chat.request import Begun, Ended, Logprob, Prompt, Tokens
from models.device.hardware import Device
from models.engine import StepEngine
from models.row import Row
from models.work import Done


class FakeText:
    """UTF-8 bytes as token ids."""

    vocabulary = 256
    variables = frozenset({"enable_thinking"})
    family = FAMILIES["hermes"]

    def encode_text(self, text: str) -> list[int]:
        """The bytes of the text, and a newline."""
        return list((text + "\n").encode())

    @property
    def beginning(self) -> list[int]:
        """The tokens of the empty text."""
        return self.encode_text("")

    def decode(self, tokens: Sequence[int]) -> str:
        """The bytes as text."""
        return bytes(tokens).decode("utf-8", "replace")

    def spelled(self, token: int) -> bytes:
        """The byte."""
        return bytes([token])

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] | None = None,
        *,
        goes_on: bool = False,
    ) -> str:
        """All contents, a newline after each."""
        return "".join(message["content"] + "\n" for message in messages)

    def encode_rendered(self, text: str) -> list[int]:
        """Its bytes."""
        return list(text.encode())

    def decoder(self, before: Sequence[int] = (), *, read: bool = False) -> FakeDetokenizer:
        """A fresh decoder."""
        return FakeDetokenizer()

    def reading(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, formed: bool = False
    ) -> Reading:
        """A fresh reader; the answer begins with nothing of the prompt."""
        return Reading(self.family, "", tools, formed=formed)


class FakeDetokenizer:
    """Bytes to text, whole characters only."""

    def __init__(self) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """The text that this byte completes."""
        return self._decoder.decode(bytes([token]))


class FakeChat(StepEngine):
    """Says the prompt again, a byte a step and every choice the same."""

    text: Text = FakeText()
    context = 100_000
    prepare_in_thread = False

    def __init__(self, row: Row) -> None:
        self.row = row
        self.delay_s = float(row.options.get("delay_s", 0.0))
        self._in: dict[int, tuple[Prompt, int]] = {}

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FakeChat:
        """Nothing to load."""
        return cls(row)

    async def length(self, request: Prompt) -> int:
        """Return the number of tokens; a picture is a token."""
        return len(request.tokens)

    async def prepare(self, request: Prompt) -> Prompt:
        """Nothing here is worth a thread."""
        return request

    def admit(self, key: int, item: Prompt) -> None:
        """It has nothing said yet."""
        self._in[key] = item, 0

    def drop(self, key: int) -> None:
        """Forget it."""
        self._in.pop(key, None)

    def step(self) -> list[tuple[int, Any]]:
        """The next byte of everybody."""
        time.sleep(self.delay_s)
        events: list[tuple[int, Any]] = []
        for key, (prompt, place) in list(self._in.items()):
            told = list(_step_events(prompt, place))
            events += [(key, event) for event in told]
            if told and isinstance(told[-1], Done):
                del self._in[key]
            else:
                self._in[key] = prompt, place + 1
        return events

    def close(self) -> None:
        """Nothing to free."""


def _step_events(prompt: Prompt, place: int) -> Iterator[Any]:
    """The events of one step."""
    limit = prompt.sampling.max_tokens
    echo = prompt.tokens[:-1]
    reason = "stop" if place >= len(echo) else "length" if place == limit else None
    if place == 0:
        yield Begun()
    for choice in range(prompt.n):
        if reason is not None:
            yield Ended(choice, reason)
        else:
            told, token = prompt.sampling.logprobs, echo[place]
            top = ((token, 0.0),) if told else ()
            logprobs = () if told is None else (Logprob(token, 0.0, top),)
            yield Tokens(choice, (token,), logprobs)
    if reason is not None:
        yield Done()

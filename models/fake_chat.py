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
        """Return the bytes of the text and a newline as token ids."""
        return list((text + "\n").encode())

    @property
    def beginning(self) -> list[int]:
        """The tokens of an empty prompt."""
        return self.encode_text("")

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of the bytes."""
        return bytes(tokens).decode("utf-8", "replace")

    def spelled(self, token: int) -> bytes:
        """Return the byte of a token."""
        return bytes([token])

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        arguments: Mapping[str, Any] | None = None,
        *,
        goes_on: bool = False,
    ) -> str:
        """Return the contents of all messages, with a newline after each."""
        return "".join(message["content"] + "\n" for message in messages)

    def encode_rendered(self, text: str) -> list[int]:
        """Return the bytes of a rendered conversation as token ids."""
        return list(text.encode())

    def decoder(self, before: Sequence[int] = (), *, read: bool = False) -> FakeDetokenizer:
        """Return a new decoder."""
        return FakeDetokenizer()

    def reading(
        self, prompt: str, tools: Sequence[Mapping[str, Any]], *, formed: bool = False
    ) -> Reading:
        """Return a new reader; the prompt does not begin the answer."""
        return Reading(self.family, "", tools, formed=formed)


class FakeDetokenizer:
    """Converts bytes to text, whole characters only."""

    def __init__(self) -> None:
        import codecs

        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        """Return the text that this byte completes, perhaps none."""
        return self._decoder.decode(bytes([token]))


class FakeChat(StepEngine):
    """Repeats the prompt, one byte per step, the same for every choice."""

    text: Text = FakeText()
    context = 100_000
    prepare_in_thread = False

    def __init__(self, row: Row) -> None:
        self.row = row
        self.delay_s = float(row.options.get("delay_s", 0.0))
        self._in: dict[int, tuple[Prompt, int]] = {}

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FakeChat:
        """Return an engine; there is nothing to load."""
        return cls(row)

    async def length(self, request: Prompt) -> int:
        """Return the number of tokens; a picture is a token."""
        return len(request.tokens)

    async def prepare(self, request: Prompt) -> Prompt:
        """Return the request unchanged."""
        return request

    def admit(self, key: int, item: Prompt) -> None:
        """Admit a request with an empty answer."""
        self._in[key] = item, 0

    def drop(self, key: int) -> None:
        """Release a request."""
        self._in.pop(key, None)

    def step(self) -> list[tuple[int, Any]]:
        """Return the events of the next byte of every request."""
        time.sleep(self.delay_s)
        events: list[tuple[int, Any]] = []
        for key, (prompt, place) in list(self._in.items()):
            step_events = list(_step_events(prompt, place))
            events += [(key, event) for event in step_events]
            if step_events and isinstance(step_events[-1], Done):
                del self._in[key]
            else:
                self._in[key] = prompt, place + 1
        return events

    def close(self) -> None:
        """Do nothing: there is no memory to free."""


def _step_events(prompt: Prompt, place: int) -> Iterator[Any]:
    """Yield the events of one step."""
    limit = prompt.sampling.max_tokens
    echo = prompt.tokens[:-1]
    reason = "stop" if place >= len(echo) else "length" if place == limit else None
    if place == 0:
        yield Begun()
    for choice in range(prompt.n):
        if reason is not None:
            yield Ended(choice, reason)
        else:
            count, token = prompt.sampling.logprobs, echo[place]
            top = ((token, 0.0),) if count else ()
            logprobs = () if count is None else (Logprob(token, 0.0, top),)
            yield Tokens(choice, (token,), logprobs)
    if reason is not None:
        yield Done()

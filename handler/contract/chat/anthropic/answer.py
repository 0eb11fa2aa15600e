"""Anthropic's Message, whole or event by event, and the count of a prompt's tokens."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.anthropic.request import CountRequest, MessagesRequest
from handler.contract.chat.chat import conversation_prompt, converse
from handler.contract.chat.generation import GrowingAnswers, engine_of
from handler.contract.chat.pictures import fetched
from handler.contract.streaming import to_client
from handler.contract.warnings import with_warnings
from handler.errors import ErrorObject, http_status
from models.chat.request import Called, Piece, Prompt, Said, Sampling, Thought

_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
# Anthropic's words for what went wrong, by the status that the error has.
_KINDS = {
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    503: "overloaded_error",
    504: "timeout_error",
}


@dataclass
class Answer:
    """A message while it grows.

    Attributes:
        content: its blocks so far.
    """

    call: Call
    progress: GrowingAnswers = field(default_factory=GrowingAnswers)
    content: list[dict[str, Any]] = field(default_factory=list)
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex[:24]}")

    def shape(self, reason: str | None = None, stop: str | None = None) -> dict[str, Any]:
        """Anthropic's Message."""
        request: MessagesRequest = self.call.request
        told = {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.call.model,
            "content": [dict(block) for block in self.content],
            "stop_reason": None if reason is None else _stop_reason(reason, stop),
            "stop_sequence": stop,
            "usage": self.usage(),
        }
        left_out = [*request.unedited(), *map(request.warned, self.progress.left_out)]
        return with_notice(with_warnings(told, left_out), self.call.row)

    def usage(self) -> dict[str, Any]:
        """Anthropic's Usage: what came from the cache is not counted as input once more."""
        progress = self.progress
        told: dict[str, Any] = {
            "input_tokens": progress.prompt_tokens - progress.cached_tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": progress.cached_tokens,
            "output_tokens": progress.completion_tokens,
        }
        if thought := progress.thought_tokens:
            told["output_tokens_details"] = {"thinking_tokens": thought}
        return told


def _stop_reason(reason: str, stop: str | None) -> str:
    return "stop_sequence" if stop is not None and reason == "stop" else _REASONS[reason]


async def answer(call: Call) -> Json:
    """Answer in one piece: Anthropic's Message."""
    told = Answer(call)
    last: dict[str, Any] = {}
    async with aclosing(_events(told)) as events:
        async for event in events:
            if event["type"] == "message_delta":
                last = event["delta"]
    shape = told.shape()
    return {**shape, **last}


def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer event by event: objects, or SSE text on the route."""
    return to_client(_events(Answer(call)), _merge, call.route, named=True)


async def _events(told: Answer) -> AsyncGenerator[dict[str, Any], None]:
    request: MessagesRequest = told.call.request
    call = replace(told.call, request=request.chat)
    writer, begun, reason, stop = _Writer(told), False, None, None
    async with aclosing(converse(call, told.progress)) as parts:
        async for part in parts:
            if not begun:  # what is refused is an error alone
                begun = True
                yield {"type": "message_start", "message": told.shape()}
            for piece in part.pieces:
                if isinstance(piece, Thought) and not request.shows_reasoning:
                    continue
                for event in writer.write(piece):
                    yield event
            reason, stop = part.finish_reason, part.stop
    for event in writer.end():
        yield event
    delta = {"stop_reason": _stop_reason(str(reason), stop), "stop_sequence": stop}
    yield {"type": "message_delta", "delta": delta, "usage": told.usage()}
    yield {"type": "message_stop"}


class _Writer:
    """Writes the blocks of a message as events."""

    def __init__(self, told: Answer) -> None:
        self._told = told
        self._kind: type[Piece] | None = None  # of the block that is being written

    def write(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Yield the events of one more piece; a piece of another kind begins a new block."""
        if isinstance(piece, Called):
            yield from self._call(piece)
            return
        if type(piece) is not self._kind:
            yield from self.close()
            self._kind = type(piece)
            yield self._begin(_EMPTY[type(piece)])
        name = "text" if isinstance(piece, Said) else "thinking"
        self._told.content[-1][name] += piece.text
        yield self._delta(f"{name}_delta", **{name: piece.text})

    def end(self) -> Iterator[dict[str, Any]]:
        """End the message; one in which nothing is said or called has an empty text."""
        if all(block["type"] == "thinking" for block in self._told.content):
            yield from self.write(Said(""))
        yield from self.close()

    def close(self) -> Iterator[dict[str, Any]]:
        """End the block that is being written."""
        if self._kind is None:
            return
        if self._kind is Thought:
            yield self._delta("signature_delta", signature="")
        self._kind = None
        yield self._event("content_block_stop")

    def _call(self, called: Called) -> Iterator[dict[str, Any]]:
        """A call, which ends what was said before it."""
        yield from self.close()
        head = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:24]}", "name": called.name}
        yield self._begin({**head, "input": {}})
        self._told.content[-1]["input"] = _input(called.arguments)
        yield self._delta("input_json_delta", partial_json=called.arguments)
        yield self._event("content_block_stop")

    def _begin(self, block: Mapping[str, Any]) -> dict[str, Any]:
        self._told.content.append(dict(block))
        return self._event("content_block_start", content_block=dict(block))

    def _delta(self, kind: str, **more: Any) -> dict[str, Any]:
        return self._event("content_block_delta", delta={"type": kind, **more})

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        return {"type": kind, "index": len(self._told.content) - 1, **more}


_EMPTY: Mapping[type[Piece], Mapping[str, Any]] = {
    Said: {"type": "text", "text": ""},
    Thought: {"type": "thinking", "thinking": "", "signature": ""},
}


def _input(arguments: str) -> dict[str, Any]:
    """A call's arguments; of one that is cut, the text under the name that Anthropic gives it."""
    try:
        value = json.loads(arguments)
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {"INVALID_JSON": arguments}


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Join two neighbouring pieces of one block's text."""
    if first["type"] != "content_block_delta" or second["type"] != first["type"]:
        return None
    left, right = first["delta"], second["delta"]
    name = left["type"].removesuffix("_delta")
    if name not in ("text", "thinking") or right["type"] != left["type"]:
        return None
    return {**second, "delta": {**right, name: left[name] + right[name]}}


async def count(call: Call) -> Json:
    """Count the tokens of a prompt."""
    request: CountRequest = call.request
    seen = await fetched(call, request.chat.references)
    async with call.lease() as model:
        chat = replace(call, request=request.chat)
        asked = await asyncio.to_thread(conversation_prompt, chat, model, seen)
        tokens = len(asked.tokens)
        if seen.pictures:
            prompt = Prompt(tuple(asked.tokens), Sampling(), pictures=seen.pictures)
            tokens = await engine_of(model).length(prompt)
    return with_notice({"input_tokens": tokens}, call.row)


def refusal(error: ErrorObject) -> dict[str, Any]:
    """Anthropic's error response, with the code and the field that ours have."""
    status = http_status(error)
    kind = _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return {"type": "error", "error": {**error, "type": kind}}


OPERATION = Operation(
    MessagesRequest, ("/v1/messages",), answer, stream, task="chat", refusal=refusal
)
COUNT = Operation(CountRequest, ("/v1/messages/count_tokens",), count, task="chat", refusal=refusal)

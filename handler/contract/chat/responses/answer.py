"""OpenAI's Response, whole or event by event.

Nothing is kept between two requests: what was said before comes with the request.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from pydantic import BaseModel

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.chat import converse
from handler.contract.chat.generation import GrowingAnswers
from handler.contract.chat.responses.request import ResponsesRequest
from handler.contract.chat.responses.shapes import TextFormat
from handler.contract.chat.tools import call_id
from handler.contract.streaming import to_client
from handler.contract.warnings import with_warnings
from models.chat.request import Called, Piece, Said


@dataclass
class Answer:
    """A response while it grows.

    Attributes:
        items: its output so far.
        numbers: of the stream's events.
    """

    call: Call
    progress: GrowingAnswers = field(default_factory=GrowingAnswers)
    items: list[dict[str, Any]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    id: str = field(default_factory=lambda: f"resp_{uuid.uuid4().hex}")
    created: float = field(default_factory=lambda: float(int(time.time())))

    def shape(self, status: str, reason: str | None = None) -> dict[str, Any]:
        """OpenAI's Response."""
        request: ResponsesRequest = self.call.request
        told = {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if reason == "length" else None,
            "instructions": request.instructions or None,
            "max_output_tokens": request.max_output_tokens,
            "metadata": request.metadata,
            "model": self.call.model,
            "output": list(self.items),
            "parallel_tool_calls": request.parallel_tool_calls,
            "previous_response_id": None,
            "reasoning": {"effort": request.effort, "summary": None},
            "temperature": request.temperature,
            "text": {"format": _told_form(request.text.format), "verbosity": "medium"},
            "tool_choice": _choice_as_json(request.tool_choice),
            "tools": [
                {"parameters": {}, **tool.model_dump(), "strict": bool(tool.strict)}
                for tool in request.tools
            ],
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": self._usage() if status != "in_progress" else None,
        }
        return with_notice(with_warnings(told, self.progress.left_out), self.call.row)

    def event(self, kind: str, **more: Any) -> dict[str, Any]:
        """One event of the stream."""
        return {"type": f"response.{kind}", "sequence_number": next(self.numbers), **more}

    def _usage(self) -> dict[str, Any]:
        read, said = self.progress.prompt_tokens, self.progress.completion_tokens
        cached = {"cached_tokens": self.progress.cached_tokens, "cache_write_tokens": 0}
        return {
            "input_tokens": read,
            "input_tokens_details": cached,
            "output_tokens": said,
            "output_tokens_details": {"reasoning_tokens": self.progress.thought_tokens},
            "total_tokens": read + said,
        }


def _told_form(form: TextFormat | None) -> dict[str, Any]:
    if form is None:
        return {"type": "text"}
    return form.model_dump(by_alias=True, exclude_none=True)


def _choice_as_json(choice: str | BaseModel) -> Any:
    return choice if isinstance(choice, str) else choice.model_dump()


def _item(kind: type[Piece], text: str, status: str) -> dict[str, Any]:
    """Return text or reasoning as an item of the output."""
    shape: dict[str, Any] = {"content": [_part(kind, text)], "status": status}
    if kind is Said:
        return {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "role": "assistant", **shape}
    return {"id": f"rs_{uuid.uuid4().hex}", "type": "reasoning", "summary": [], **shape}


def _part(kind: type[Piece], text: str) -> dict[str, Any]:
    if kind is Said:
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    return {"type": "reasoning_text", "text": text}


def _call(called: Called) -> dict[str, Any]:
    return {
        "id": f"fc_{uuid.uuid4().hex}",
        "type": "function_call",
        "call_id": call_id(),
        "name": called.name,
        "arguments": called.arguments,
        "status": "incomplete" if called.cut else "completed",
    }


async def answer(call: Call) -> Json:
    """Answer in one piece: OpenAI's Response, which a stream of events ends with."""
    last: dict[str, Any] = {}
    async with aclosing(_events(call)) as events:
        async for event in events:
            last = event
    return last["response"]


def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer event by event: objects, or SSE text on the OpenAI route."""
    return to_client(_events(call), _merge, call.route, named=True)


async def _events(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    told, request = Answer(call), call.request
    chat = replace(call, request=request.chat)
    async with aclosing(converse(chat, told.progress)) as parts:
        writer, begun, reason = _Writer(told), False, None
        async for part in parts:
            if not begun:  # what is refused is an error alone
                begun = True
                yield told.event("created", response=told.shape("in_progress"))
                yield told.event("in_progress", response=told.shape("in_progress"))
            for piece in part.pieces:
                for event in writer.write(piece):
                    yield event
            reason = part.finish_reason
    status = "incomplete" if reason == "length" else "completed"
    for event in writer.end(status):
        yield event
    yield told.event(status, response=told.shape(status, reason))


class _Writer:
    """Writes the output's items as events."""

    def __init__(self, told: Answer) -> None:
        self._told = told
        self._kind: type[Piece] | None = None  # of the item that is being written
        self._text = ""

    def write(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """Yield the events of one more piece; a piece of another kind begins a new item."""
        if isinstance(piece, Called):
            yield from self._call(piece)
            return
        if type(piece) is not self._kind:
            yield from self.close("completed")
            self._kind, self._text = type(piece), ""
            item = {**_item(type(piece), "", "in_progress"), "content": []}
            self._told.items.append(item)
            yield self._event("output_item.added", item=dict(item))
            yield self._content("content_part.added", part=_part(type(piece), ""))
        self._text += piece.text
        yield self._spoken("delta", delta=piece.text)

    def end(self, status: str) -> Iterator[dict[str, Any]]:
        """End the answer; one in which nothing is said or called is an empty message."""
        if all(item["type"] == "reasoning" for item in self._told.items):
            yield from self.write(Said(""))
        yield from self.close(status)

    def close(self, status: str) -> Iterator[dict[str, Any]]:
        """End the item that is being written."""
        if self._kind is None:
            return
        part = _part(self._kind, self._text)
        yield self._spoken("done", text=self._text)
        yield self._content("content_part.done", part=part)
        item = self._told.items[-1]
        item["content"], item["status"] = [part], status
        yield self._event("output_item.done", item=dict(item))
        self._kind = None

    def _call(self, called: Called) -> Iterator[dict[str, Any]]:
        """A call, which ends what was said before it."""
        yield from self.close("completed")
        item = _call(called)
        self._told.items.append(item)
        begun = {**item, "arguments": "", "status": "in_progress"}
        yield self._event("output_item.added", item=begun)
        where = {"item_id": item["id"]}
        yield self._event("function_call_arguments.delta", delta=called.arguments, **where)
        done = {"arguments": called.arguments, "name": called.name, **where}
        yield self._event("function_call_arguments.done", **done)
        yield self._event("output_item.done", item=item)

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        return self._told.event(kind, output_index=len(self._told.items) - 1, **more)

    def _content(self, kind: str, **more: Any) -> dict[str, Any]:
        return self._event(kind, item_id=self._told.items[-1]["id"], content_index=0, **more)

    def _spoken(self, kind: str, **more: Any) -> dict[str, Any]:
        if self._kind is Said:
            return self._content(f"output_text.{kind}", logprobs=[], **more)
        return self._content(f"reasoning_text.{kind}", **more)


_JOINED = frozenset({"response.output_text.delta", "response.reasoning_text.delta"})


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Join two neighbouring pieces of text; their numbers stay in order."""
    kind = first["type"]
    if kind not in _JOINED or kind != second["type"] or first["item_id"] != second["item_id"]:
        return None
    return {**second, "delta": first["delta"] + second["delta"]}


OPERATION = Operation(ResponsesRequest, ("/v1/responses",), answer, stream, task="chat")

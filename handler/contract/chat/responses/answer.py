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

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.chat import converse
from handler.contract.chat.generation import Progress
from handler.contract.chat.responses.request import FlatChoice, ResponsesRequest, TextFormat
from handler.contract.chat.tools import call_id
from handler.contract.chat.voices import Delta, merged
from handler.contract.streaming import to_client
from models.chat.request import Called, Said
from models.warm.model import Borrowed


@dataclass
class Answer:
    """A response while it grows.

    Attributes:
        items: its output so far.
        numbers: of the stream's events.
    """

    call: Call
    progress: Progress = field(default_factory=Progress)
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
            "metadata": {},
            "model": self.call.model,
            "output": list(self.items),
            "parallel_tool_calls": request.parallel_tool_calls,
            "previous_response_id": None,
            "temperature": request.temperature,
            "text": {"format": _told_form(request.text.format)},
            "tool_choice": _plain(request.tool_choice),
            "tools": [
                {"parameters": {}, **tool.model_dump(), "strict": bool(tool.strict)}
                for tool in request.tools
            ],
            "top_p": request.top_p,
            "truncation": "disabled",
            "usage": self._usage() if status != "in_progress" else None,
        }
        return with_notice(told, self.call.row)

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
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + said,
        }


def _told_form(form: TextFormat | None) -> dict[str, Any]:
    if form is None:
        return {"type": "text"}
    return form.model_dump(by_alias=True, exclude_none=True)


def _plain(choice: str | FlatChoice) -> Any:
    return choice if isinstance(choice, str) else choice.model_dump()


def _message(text: str, status: str) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [_part(text)],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _call(called: Called) -> dict[str, Any]:
    return {
        "id": f"fc_{uuid.uuid4().hex}",
        "type": "function_call",
        "call_id": call_id(),
        "name": called.name,
        "arguments": called.arguments,
        "status": "completed",
    }


def _deltas(call: Call, model: Borrowed, progress: Progress) -> AsyncGenerator[Delta, None]:
    """What comes of the conversation that the request comes to."""
    request: ResponsesRequest = call.request
    return converse(replace(call, request=request.chat), model, progress)


async def answer(call: Call) -> Json:
    """Answer in one piece: OpenAI's Response."""
    told = Answer(call)
    async with call.lease() as model:
        whole = merged([delta async for delta in _deltas(call, model, told.progress)])
    status = "incomplete" if whole["finish_reason"] == "length" else "completed"
    if whole["text"] or not whole["calls"]:
        told.items.append(_message(whole["text"], status))
    told.items += [_call(one) for one in whole["calls"]]
    return told.shape(status, whole["finish_reason"])


def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer event by event: objects, or SSE text on the OpenAI route."""
    return to_client(_events(call), _merge, call.route)


async def _events(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    told = Answer(call)
    async with call.lease() as model, aclosing(_deltas(call, model, told.progress)) as parts:
        writer, begun, reason = _Writer(told), False, None
        async for part in parts:
            if not begun:  # what is refused is an error alone
                begun = True
                yield told.event("created", response=told.shape("in_progress"))
                yield told.event("in_progress", response=told.shape("in_progress"))
            for piece in part.pieces:
                if isinstance(piece, Said):
                    for event in writer.say(piece.text):
                        yield event
                elif isinstance(piece, Called):
                    for event in writer.call(piece):
                        yield event
            reason = part.finish_reason
    status = "incomplete" if reason == "length" else "completed"
    for event in writer.close(status):
        yield event
    yield told.event(status, response=told.shape(status, reason))


class _Writer:
    """Writes the output's items as events."""

    def __init__(self, told: Answer) -> None:
        self._told = told
        self._open: dict[str, Any] | None = None  # the message that is being said
        self._text = ""

    def say(self, text: str) -> Iterator[dict[str, Any]]:
        """Text, in a message of its own if none is open."""
        if self._open is None:
            self._open = {**_message("", "in_progress"), "content": []}
            self._text = ""
            self._told.items.append(self._open)
            yield self._event("output_item.added", item=dict(self._open))
            yield self._content("content_part.added", part=_part(""))
        self._text += text
        yield self._content("output_text.delta", delta=text, logprobs=[])

    def call(self, called: Called) -> Iterator[dict[str, Any]]:
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

    def close(self, status: str) -> Iterator[dict[str, Any]]:
        """End the message that is open."""
        if self._open is None:
            return
        yield self._content("output_text.done", text=self._text, logprobs=[])
        yield self._content("content_part.done", part=_part(self._text))
        self._open["content"], self._open["status"] = [_part(self._text)], status
        yield self._event("output_item.done", item=dict(self._open))
        self._open = None

    def _event(self, kind: str, **more: Any) -> dict[str, Any]:
        return self._told.event(kind, output_index=len(self._told.items) - 1, **more)

    def _content(self, kind: str, **more: Any) -> dict[str, Any]:
        assert self._open is not None  # noqa: S101 - its callers opened it
        return self._event(kind, item_id=self._open["id"], content_index=0, **more)


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Join two neighbouring pieces of text; their numbers stay in order."""
    kind = "response.output_text.delta"
    if first["type"] != kind or second["type"] != kind or first["item_id"] != second["item_id"]:
        return None
    return {**second, "delta": first["delta"] + second["delta"]}


OPERATION = Operation(ResponsesRequest, ("/v1/responses",), answer, stream)

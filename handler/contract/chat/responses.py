"""Responses: ``POST /v1/responses``, OpenAI's newer form of a conversation, without its memory.

Nothing is kept between two requests: what was said before comes with the request. Shapes after
OpenAI's Response and its stream events.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.chat import asked
from handler.contract.chat.generation import MAX_TOKENS, Progress, deltas
from handler.contract.chat.request import ChatRequest
from handler.contract.chat.voices import Delta, merged
from handler.contract.request import Integer, NonEmpty, Request, Text, Unsupported
from handler.contract.streaming import to_client
from models.chat.request import Called, Said
from models.errors import InvalidValue
from models.warm.model import Borrowed

_STATELESS = "nothing is kept between requests; send what was said before as input"
_ROLES = {"input_text", "output_text", "text"}


class TextFormat(BaseModel):
    """The form of the answer: OpenAI's ``text.format``, flat where chat nests."""

    model_config = ConfigDict(strict=True)

    type: Literal["text", "json_object", "json_schema"]
    name: NonEmpty | None = None
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    description: Text | None = None
    strict: bool | None = None


class TextOptions(BaseModel):
    """What the answer's text is like."""

    model_config = ConfigDict(strict=True)

    format: TextFormat | None = None


class FlatTool(BaseModel):
    """A function, flat where chat nests."""

    model_config = ConfigDict(strict=True)

    type: Literal["function"]
    name: NonEmpty
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class FlatChoice(BaseModel):
    """One function that must be called."""

    model_config = ConfigDict(strict=True)

    type: Literal["function"]
    name: NonEmpty


class ResponsesRequest(Request):
    """The body of a responses request."""

    unsupported: ClassVar = {
        "background": Unsupported(False),
        "context_management": Unsupported(),
        "conversation": Unsupported(instead=_STATELESS),
        "include": Unsupported(),
        "max_tool_calls": Unsupported(),
        "moderation": Unsupported(),
        "previous_response_id": Unsupported(instead=_STATELESS),
        "prompt": Unsupported(instead="send it as input"),
        "reasoning": Unsupported(),
        "service_tier": Unsupported("auto", "default"),
        "store": Unsupported(False, instead=_STATELESS),
        "top_logprobs": Unsupported(0),
        "truncation": Unsupported("disabled"),
    }
    informational: ClassVar = Request.informational | {
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "stream_options",
    }

    input: NonEmpty | Annotated[list[dict[str, Any]], Field(min_length=1)]
    instructions: Text = ""
    max_output_tokens: Annotated[Integer, Field(ge=1, le=MAX_TOKENS)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    text: TextOptions = TextOptions()
    tools: list[FlatTool] = Field(default=[])
    tool_choice: Literal["none", "auto", "required"] | FlatChoice = "auto"
    parallel_tool_calls: bool = True
    stream: bool = False

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body, and what it comes to as a chat."""
        request = super().parse(body)
        request.as_chat()
        return request

    def as_chat(self) -> ChatRequest:
        """The same as a chat request.

        Raises:
            InvalidValue: a part is none that a chat can have; its name is chat's.
        """
        given = self.input
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        messages = list(_messages(items))
        body: dict[str, Any] = {
            "messages": messages,
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "response_format": _form(self.text.format),
            "tools": [_nested(tool) for tool in self.tools],
            "tool_choice": self.tool_choice if self.tools else None,
            "parallel_tool_calls": self.parallel_tool_calls,
        }
        if isinstance(self.tool_choice, FlatChoice):
            named = {"name": self.tool_choice.name}
            body["tool_choice"] = {"type": "function", "function": named}
        if self.instructions:
            body["messages"] = [{"role": "system", "content": self.instructions}, *messages]
        try:
            return ChatRequest.parse(body)
        except InvalidValue as error:
            error.param = _PARAMS.get((error.param or "").partition(".")[0], "input")
            raise


_PARAMS = {
    "max_tokens": "max_output_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "response_format": "text.format",
    "tools": "tools",
    "tool_choice": "tool_choice",
}


def _nested(tool: FlatTool) -> dict[str, Any]:
    function = tool.model_dump(exclude={"type"}, exclude_none=True)
    return {"type": "function", "function": function}


def _form(form: TextFormat | None) -> dict[str, Any] | None:
    if form is None:
        return None
    if form.type != "json_schema":
        return {"type": form.type}
    schema = {"name": form.name or "answer", "schema": form.schema_ or {}}
    return {"type": "json_schema", "json_schema": schema}


def _messages(items: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Chat's messages for the items of an input: messages, calls, and what calls gave."""
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message":
            yield {"role": item.get("role"), "content": _content(item.get("content"), index)}
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            yield {"role": "assistant", "content": None, "tool_calls": [call]}
        elif kind == "function_call_output":
            output = _content(item.get("output"), index)
            yield {"role": "tool", "content": output, "tool_call_id": item.get("call_id")}
        elif kind != "reasoning":  # of an earlier answer; a model is not told what it thought
            raise InvalidValue(
                f"input[{index}].type must be message, function_call or function_call_output.",
                param=f"input[{index}].type",
            )


def _content(content: Any, index: int) -> Any:
    """Text, or the texts of its parts."""
    if not isinstance(content, list):
        return content
    texts: list[Any] = []
    for at, part in enumerate(content):
        if not (isinstance(part, Mapping) and part.get("type") in _ROLES):
            raise InvalidValue(
                f"input[{index}].content[{at}] must be a text part; this model reads text.",
                param=f"input[{index}].content[{at}]",
            )
        texts.append(part.get("text"))
    return "".join(texts) if all(isinstance(text, str) for text in texts) else texts


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
            "model": self.call.row.slug,
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
        "call_id": f"call_{uuid.uuid4().hex[:24]}",
        "name": called.name,
        "arguments": called.arguments,
        "status": "completed",
    }


async def _deltas(call: Call, model: Borrowed, progress: Progress) -> AsyncGenerator[Delta, None]:
    """The same as of the conversation that the request comes to."""
    request: ResponsesRequest = call.request
    chat = Call(**{**vars(call), "request": request.as_chat()})
    prompt = await asyncio.to_thread(asked, chat, model)
    async with aclosing(deltas(chat, model, prompt, progress, ())) as parts:
        async for part in parts:
            yield part


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

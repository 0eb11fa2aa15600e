"""The body of a responses request, and the chat that it comes to."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from handler.contract.chat.messages import MAX_MESSAGES
from handler.contract.chat.request import ChatRequest
from handler.contract.chat.tools import MAX_TOOLS
from handler.contract.request import (
    Integer,
    Items,
    JsonObject,
    NonEmpty,
    Part,
    Request,
    Text,
    Unsupported,
    alike,
)
from models.errors import InvalidValue, RequestError, UnsupportedParameter

_STATELESS = "nothing is kept between requests; send what was said before as input"
MAX_METADATA = 64  # OpenAI has 16
Item = Annotated[dict[str, Any], Items(100)]  # a message, a call, what it gave
_TEXTS = {"input_text": "text", "output_text": "text", "text": "text", "refusal": "refusal"}


class TextFormat(BaseModel):
    """The form of the answer: OpenAI's ``text.format``, flat where chat nests."""

    model_config = ConfigDict(strict=True)

    type: Literal["text", "json_object", "json_schema"]
    name: NonEmpty | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    description: Text | None = None
    strict: bool | None = None


class TextOptions(Part):
    """What the answer's text is like."""

    format: TextFormat | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class FlatTool(BaseModel):
    """A function, flat where chat nests."""

    model_config = ConfigDict(strict=True)

    type: Literal["function"]
    name: NonEmpty
    description: Text | None = None
    parameters: JsonObject | None = None
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
        "n": Unsupported(1),
        "previous_response_id": Unsupported(instead=_STATELESS),
        "prompt": Unsupported(instead="send it as input"),
        "reasoning": Unsupported(),
        "service_tier": Unsupported("auto", "default"),
        "store": Unsupported(False, instead=_STATELESS),
        "top_logprobs": Unsupported(0),
        "truncation": Unsupported("disabled"),
        **alike(("messages", "system"), "send input and instructions"),
        **alike(("logprobs",), "ask /v1/chat/completions for them", False),
        **alike(("response_format",), "send text.format"),
    }
    aliases: ClassVar = {
        "max_tokens": "max_output_tokens",
        "max_completion_tokens": "max_output_tokens",
        "max_new_tokens": "max_output_tokens",
    }
    informational: ClassVar = Request.informational | {
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "stream_options",
    }

    input: NonEmpty | Annotated[list[Item], Items(MAX_MESSAGES, least=1)]
    instructions: Text = ""
    max_output_tokens: Annotated[Integer, Field(ge=1)] | None = None
    metadata: Annotated[dict[str, Text], Items(MAX_METADATA)] = Field(default={})
    temperature: float | None = None
    top_p: float | None = None
    text: TextOptions = TextOptions()
    tools: Annotated[list[FlatTool], Items(MAX_TOOLS)] = Field(default=[])
    tool_choice: Literal["none", "auto", "required"] | FlatChoice = "auto"
    parallel_tool_calls: bool = True
    stream: bool = False
    _chat: ChatRequest = PrivateAttr()
    _items: list[list[int]] = PrivateAttr(default=[])  # that each message of the chat is made of

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body, and what it comes to as a chat."""
        request = super().parse(body)
        if request.text.verbosity not in (None, "medium"):
            raise UnsupportedParameter(
                'text.verbosity is not supported; leave it out or send "medium".',
                param="text.verbosity",
            )
        # Chat's fields that OpenAI's Responses do not have are honoured, or refused, all the same.
        chats = ChatRequest.known() - cls.known()
        more = {name: body[name] for name in chats if body.get(name) is not None}
        try:
            request._chat = ChatRequest.parse({**more, **request._as_chat()})
        except RequestError as error:
            request.renamed(error)
            raise
        return request

    @property
    def chat(self) -> ChatRequest:
        """The same as a chat request."""
        return self._chat

    def renamed(self, error: RequestError) -> None:
        """An error of chat's field, by its name here; its message begins with the name."""
        of_chat = error.param
        if of_chat is not None:
            error.param = self._named(of_chat)
            error.message = re.sub(rf"\b{re.escape(of_chat)}", error.param, error.message)
        super().renamed(error)

    def _named(self, param: str) -> str:
        """A field of chat's by its name here."""
        of_message = re.match(r"messages\[(\d+)\](?:\.tool_calls\[(\d+)\])?(?:.*\.(\w+))?", param)
        if of_message is not None:
            place = int(of_message[1]) - bool(self.instructions)
            if not (isinstance(self.input, list) and 0 <= place < len(self._items)):
                return "input"
            items, field = self._items[place], _FIELDS.get(of_message[3], of_message[3])
            # What is called comes after what is said.
            calls = [one for one in items if self.input[one].get("type") == "function_call"]
            item = items[0] if of_message[2] is None else calls[int(of_message[2])]
            if field == "content" and self.input[item].get("type") == "function_call_output":
                field = "output"
            return f"input[{item}].{field}" if field else f"input[{item}]"
        if of_tool := re.match(r"(tools\[\d+\])\.function(.*)", param):
            return of_tool[1] + of_tool[2]
        for prefix, name in _NAMES.items():
            if param.startswith(prefix):
                return name + param.removeprefix(prefix)
        return param

    def _as_chat(self) -> dict[str, Any]:
        """The body of the chat.

        Raises:
            InvalidValue: an item is none that a chat can have.
        """
        given = self.input
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        messages: list[dict[str, Any]] = []
        for index, message in _messages(items):
            if messages and _is_one_turn(messages[-1], message):
                calls = messages[-1].get("tool_calls", [])
                messages[-1] = {**messages[-1], "tool_calls": calls + message["tool_calls"]}
                self._items[-1].append(index)
            else:
                messages.append(message)
                self._items.append([index])
        if not messages:
            raise InvalidValue("input holds nothing to answer.", param="input")
        body: dict[str, Any] = {
            "model": self.model,
            "messages": messages,
            "max_tokens": self.max_output_tokens,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "response_format": _form(self.text.format),
            "tools": [_nested(tool) for tool in self.tools],
            "tool_choice": None if self.tool_choice == "auto" else self.tool_choice,
            "parallel_tool_calls": self.parallel_tool_calls,
        }
        if isinstance(self.tool_choice, FlatChoice):
            named = {"name": self.tool_choice.name}
            body["tool_choice"] = {"type": "function", "function": named}
        if self.instructions:
            body["messages"] = [{"role": "system", "content": self.instructions}, *messages]
        return body


_FIELDS = {"tool_call_id": "call_id", "id": "call_id"}
_NAMES = {
    "max_tokens": "max_output_tokens",
    "messages": "input",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
    "tool_choice.function.name": "tool_choice.name",
}


def _nested(tool: FlatTool) -> dict[str, Any]:
    function = tool.model_dump(exclude={"type"}, exclude_none=True)
    return {"type": "function", "function": function}


def _form(form: TextFormat | None) -> dict[str, Any] | None:
    if form is None:
        return None
    if form.type != "json_schema":
        return {"type": form.type}
    for name, given in (("name", form.name), ("schema", form.schema_)):
        if given is None:
            raise InvalidValue(
                f"text.format.{name} is required where type is json_schema.",
                param=f"text.format.{name}",
                code="missing_required_parameter",
            )
    return {"type": "json_schema", "json_schema": {"name": form.name, "schema": form.schema_}}


def _is_one_turn(before: Mapping[str, Any], message: Mapping[str, Any]) -> bool:
    """What the assistant says and calls is one message of a chat, and several items here."""
    return before["role"] == "assistant" and "tool_calls" in message


def _messages(items: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Chat's messages for the items of an input: messages, calls, and what calls gave."""
    for index, item in enumerate(items):
        kind = item.get("type", "message")
        if kind == "message":
            content = _content(item, "content", index)
            yield index, {"role": item.get("role"), "content": content}
        elif kind == "function_call":
            function = {"name": item.get("name"), "arguments": item.get("arguments")}
            call = {"id": item.get("call_id"), "type": "function", "function": function}
            yield index, {"role": "assistant", "content": None, "tool_calls": [call]}
        elif kind == "function_call_output":
            output = _content(item, "output", index)
            told = {"role": "tool", "content": output, "tool_call_id": item.get("call_id")}
            yield index, told
        elif kind != "reasoning":  # of an earlier answer; a model is not told what it thought
            raise InvalidValue(
                f"input[{index}].type must be message, function_call or function_call_output.",
                param=f"input[{index}].type",
            )


def _content(item: Mapping[str, Any], field: str, index: int) -> Any:
    """Text, or the texts of its parts."""
    content = item.get(field)
    if not isinstance(content, list):
        return content
    texts: list[str] = []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, Mapping) else None
        text = part.get(_TEXTS[kind]) if isinstance(kind, str) and kind in _TEXTS else None
        if not isinstance(text, str):
            raise InvalidValue(
                f"input[{index}].{field}[{at}] must be a text part; this model reads text.",
                param=f"input[{index}].{field}[{at}]",
            )
        texts.append(text)
    return "".join(texts)

"""The body of a responses request, and the chat that it comes to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr

from handler.contract.chat.generation import MAX_TOKENS
from handler.contract.chat.request import ChatRequest
from handler.contract.request import Integer, NonEmpty, Request, Text, Unsupported
from models.errors import InvalidValue

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
    _chat: ChatRequest = PrivateAttr()

    @classmethod
    def parse(cls, body: Mapping[str, Any]) -> Self:
        """Validate a body, and what it comes to as a chat."""
        request = super().parse(body)
        request._chat = request._as_chat()
        return request

    @property
    def chat(self) -> ChatRequest:
        """The same as a chat request."""
        return self._chat

    def _as_chat(self) -> ChatRequest:
        """Make it.

        Raises:
            InvalidValue: a part is none that a chat can have; its name is chat's.
        """
        given = self.input
        items = [{"role": "user", "content": given}] if isinstance(given, str) else given
        messages = list(_messages(items))
        body: dict[str, Any] = {
            "model": self.model,
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

"""Answers of ``/v1/messages``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from handler.openapi.answers.shape import Absent, Notice, Shape, Warnings


class TextBlock(Shape):
    """Text of the answer."""

    type: Literal["text"]
    text: str


class ThinkingBlock(Shape):
    """What the model thought before the answer; the signature is empty."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class ToolUseBlock(Shape):
    """A call of one of the request's tools.

    Of a call that is cut, `input` has the text alone, as `INVALID_JSON`.
    """

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


MessageBlock = Annotated[TextBlock | ThinkingBlock | ToolUseBlock, Field(discriminator="type")]


class ThinkingTokens(Shape):
    """Of the tokens written, those that were thought."""

    thinking_tokens: int


class MessageUsage(Shape):
    """Tokens read and written; what was in memory already is not in `input_tokens`."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: ThinkingTokens | Absent = None


class MessageObject(Shape):
    """Anthropic's Message."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[MessageBlock]
    stop_reason: Literal["end_turn", "max_tokens", "stop_sequence", "tool_use"] | None
    stop_sequence: str | None
    usage: MessageUsage
    notice: Notice = None
    warnings: Warnings = None


class MessageEvent(Shape):
    """Anthropic's event of a message; `type` says which, and which further fields it has."""

    model_config = ConfigDict(extra="allow")

    type: str


class TokenCount(Shape):
    """The tokens of a prompt."""

    input_tokens: int
    notice: Notice = None

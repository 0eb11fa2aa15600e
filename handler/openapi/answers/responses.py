"""Answers of ``/v1/responses``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from handler.openapi.answers.shape import Notice, Shape, Warnings

ItemStatus = Literal["in_progress", "completed", "incomplete"]


class OutputText(Shape):
    """Text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[dict[str, Any]]
    logprobs: list[dict[str, Any]]


class ReasoningText(Shape):
    """Text that was thought before the answer."""

    type: Literal["reasoning_text"]
    text: str


class OutputMessage(Shape):
    """What the model says."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    content: list[OutputText]
    status: ItemStatus


class OutputReasoning(Shape):
    """What the model thought."""

    id: str
    type: Literal["reasoning"]
    summary: list[dict[str, Any]]
    content: list[ReasoningText]
    status: ItemStatus


class OutputCall(Shape):
    """A call of one of the request's tools; `arguments` is a JSON object, as text."""

    id: str
    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    status: ItemStatus


OutputItem = Annotated[OutputMessage | OutputReasoning | OutputCall, Field(discriminator="type")]


class InputDetails(Shape):
    """Of the tokens read, those that were in memory already."""

    cached_tokens: int
    cache_write_tokens: int


class OutputDetails(Shape):
    """Of the tokens written, those that were thought."""

    reasoning_tokens: int


class ResponseUsage(Shape):
    """Tokens read and written."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(Shape):
    """Why an answer ends early."""

    reason: Literal["max_output_tokens"]


class AnsweredForm(Shape):
    """The form of the answer."""

    model_config = ConfigDict(extra="allow")

    type: Literal["text", "json_object", "json_schema"]


class AnsweredReasoning(Shape):
    """How much the model was asked to reason."""

    effort: str | None
    summary: None


class AnsweredText(Shape):
    """What the answer's text is like."""

    format: AnsweredForm
    verbosity: Literal["medium"]


class ResponseObject(Shape):
    """OpenAI's Response."""

    id: str
    object: Literal["response"]
    created_at: float
    status: ItemStatus
    background: bool
    error: None
    incomplete_details: Incomplete | None
    instructions: str | None
    max_output_tokens: int | None
    metadata: dict[str, str]
    model: str
    output: list[OutputItem]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: AnsweredReasoning
    temperature: float | None
    text: AnsweredText
    tool_choice: Any
    tools: list[dict[str, Any]]
    top_p: float | None
    truncation: Literal["disabled"]
    usage: ResponseUsage | None
    notice: Notice = None
    warnings: Warnings = None


class ResponseEvent(Shape):
    """OpenAI's event of a response; `type` says which, and which further fields it has."""

    model_config = ConfigDict(extra="allow")

    type: str
    sequence_number: int

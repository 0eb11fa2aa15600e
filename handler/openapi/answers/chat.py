"""Answers of chat and completions."""

from __future__ import annotations

from typing import Literal

from handler.openapi.answers.shape import Absent, Notice, Shape, Warnings

FinishReason = Literal["stop", "length", "tool_calls"]


class CachedTokens(Shape):
    """How much of the prompt was in memory already."""

    cached_tokens: int


class ThoughtTokens(Shape):
    """How many tokens were thought before the answer."""

    reasoning_tokens: int


class CompletionUsage(Shape):
    """Tokens read and written."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: ThoughtTokens | Absent = None


class AnsweredFunction(Shape):
    """What is to be called; `arguments` is a JSON object, as text."""

    name: str
    arguments: str


class AnsweredCall(Shape):
    """A call of one of the request's tools."""

    id: str
    type: Literal["function"]
    function: AnsweredFunction


class AssistantMessage(Shape):
    """The answer; `content` is null where it consists of calls alone."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str | Absent = None
    tool_calls: list[AnsweredCall] | Absent = None


class TokenLogprob(Shape):
    """One token and its log probability."""

    token: str
    logprob: float
    bytes: list[int]


class ChosenTokenLogprob(TokenLogprob):
    """A token of the answer, and what else was likely there."""

    top_logprobs: list[TokenLogprob]


class ChatLogprobs(Shape):
    """The log probabilities of an answer's tokens."""

    content: list[ChosenTokenLogprob]
    refusal: None


class ChatChoice(Shape):
    """One of `n` answers."""

    index: int
    message: AssistantMessage
    finish_reason: FinishReason
    logprobs: ChatLogprobs | None


class ChatCompletion(Shape):
    """OpenAI's ChatCompletion."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: CompletionUsage
    notice: Notice = None
    warnings: Warnings = None


class TextLine(Shape):
    """A line of a page: its text, its corners from the top left, how sure its letters are."""

    text: str
    box: list[list[int]]
    confidence: float


class Page(Shape):
    """The text of one picture; of a model that finds lines also where they stand, in pixels."""

    page: int
    text: str
    width: int | Absent = None
    height: int | Absent = None
    lines: list[TextLine] | Absent = None


class OcrCompletion(ChatCompletion):
    """OpenAI's ChatCompletion of the text in pictures, and the text of each."""

    pages: list[Page]


class FunctionDelta(Shape):
    """A call's name, or the next piece of its arguments."""

    name: str | Absent = None
    arguments: str


class CallDelta(Shape):
    """A piece of a call; `index` says of which."""

    index: int
    id: str | Absent = None
    type: Literal["function"] | Absent = None
    function: FunctionDelta


class ChatDelta(Shape):
    """What is new in an answer."""

    role: Literal["assistant"] | Absent = None
    content: str | Absent = None
    reasoning_content: str | Absent = None
    tool_calls: list[CallDelta] | Absent = None


class ChunkChoice(Shape):
    """What is new in one of `n` answers."""

    index: int
    delta: ChatDelta
    finish_reason: FinishReason | None
    logprobs: ChatLogprobs | None


class ChatCompletionChunk(Shape):
    """OpenAI's ChatCompletionChunk: an event of a stream."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[ChunkChoice]
    usage: CompletionUsage | None = None
    notice: Notice = None
    warnings: Warnings = None


class TextLogprobs(Shape):
    """Log probabilities; each list has one element a token."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class TextChoice(Shape):
    """One of `n` texts for one of the prompts."""

    text: str
    index: int
    logprobs: TextLogprobs | None
    finish_reason: FinishReason | None


class Completion(Shape):
    """OpenAI's Completion, whole or as an event of a stream."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: CompletionUsage | Absent = None
    notice: Notice = None

"""Chat: ``POST /v1/chat/completions``."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from handler.contract.base import Call, Json, NonEmpty, Request, Surface, with_notice
from handler.contract.streaming import coalesce, sse
from models.chat import Generated, Prompt, Sampling
from models.chat_text import StopStrings
from models.pool import Warm

MAX_TOKENS = 8192

_NEUTRAL_FORMAT = {"type": "text"}


class TextPart(BaseModel):
    """A part of a message's content; only text is understood."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: NonEmpty


class Message(BaseModel):
    """One turn of the conversation."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: NonEmpty | Annotated[list[TextPart], Field(min_length=1)]

    def plain(self) -> dict[str, str]:
        """The turn as chat templates know it: OpenAI's ``developer`` is their ``system``."""
        role = "system" if self.role == "developer" else self.role
        if isinstance(self.content, str):
            return {"role": role, "content": self.content}
        return {"role": role, "content": "".join(part.text for part in self.content)}


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    model_config = ConfigDict(strict=True)

    include_usage: bool = False


class ChatRequest(Request):
    """The body of a chat request; a bare ``prompt`` stands for one user message."""

    unsupported: ClassVar = {
        "audio": (),
        "frequency_penalty": (0,),
        "function_call": ("none",),
        "functions": ([],),
        "logit_bias": ({},),
        "logprobs": (False,),
        "modalities": (["text"],),
        "n": (1,),
        "prediction": (),
        "presence_penalty": (0,),
        "reasoning_effort": ("none",),
        "response_format": (_NEUTRAL_FORMAT,),
        "service_tier": ("auto", "default"),
        "store": (False,),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
        "verbosity": ("medium",),
        "web_search_options": (),
    }

    messages: Annotated[list[Message], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1, le=MAX_TOKENS)] | None = None
    stop: NonEmpty | Annotated[list[NonEmpty], Field(max_length=4)] = Field(default=[])
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()
    webhook_url: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _prompt_as_message(cls, body: Any) -> Any:
        if (
            isinstance(body, dict)
            and "messages" not in body
            and isinstance(body.get("prompt"), str)
        ):
            return {**body, "messages": [{"role": "user", "content": body["prompt"]}]}
        return body

    @property
    def stops(self) -> list[str]:
        """Stop strings as a list."""
        return [self.stop] if isinstance(self.stop, str) else list(self.stop)

    def sampling(self, call: Call) -> Sampling:
        """The request's sampling, the model's defaults where it says nothing."""

        def pick(name: str, fallback: Any) -> Any:
            given = getattr(self, name)
            return call.default(name, fallback) if given is None else given

        return Sampling(
            max_tokens=self.max_completion_tokens or pick("max_tokens", None),
            temperature=pick("temperature", 1.0),
            top_p=pick("top_p", 1.0),
            top_k=pick("top_k", 0),
            min_p=pick("min_p", 0.0),
            repetition_penalty=pick("repetition_penalty", 1.0),
            seed=self.seed,
        )


@dataclass
class Progress:
    """What is known of an answer while it grows."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    finish_reason: str | None = None

    def usage(self) -> dict[str, int]:
        """OpenAI's CompletionUsage."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
        }


async def _texts(call: Call, model: Warm, progress: Progress) -> AsyncGenerator[str, None]:
    """Yield the answer's text in pieces, whole characters only, ending before a stop string."""
    request: ChatRequest = call.request
    text = model.engine.text
    tokens = await _encode(text, request)
    progress.prompt_tokens = len(tokens)
    decoder, stops = text.decoder(), StopStrings(request.stops)
    prompt = Prompt(tuple(tokens), _fit(request.sampling(call), request, model, len(tokens)))
    async with aclosing(model.stream(prompt)) as events:
        async for event in events:
            if isinstance(event, Generated):
                progress.finish_reason = event.finish_reason
                break
            progress.completion_tokens += 1
            if piece := stops.push(decoder.push(event)):
                yield piece
            if stops.found:
                progress.finish_reason = "stop"
                return
    if rest := stops.flush():
        yield rest


async def _encode(text: Any, request: ChatRequest) -> list[int]:
    import asyncio

    messages = [message.plain() for message in request.messages]
    tokens: list[int] = await asyncio.to_thread(text.encode, messages)
    return tokens


def _fit(sampling: Sampling, request: ChatRequest, model: Warm, prompt_tokens: int) -> Sampling:
    """A default answer length shrinks to the room that is left; one that was asked for does not."""
    from dataclasses import replace

    asked = request.max_completion_tokens or request.max_tokens
    room = model.engine.context - prompt_tokens
    if asked is None and room > 0:
        return replace(sampling, max_tokens=min(sampling.max_tokens or MAX_TOKENS, room))
    return sampling


async def answer(call: Call) -> Json:
    """Answer in one piece: OpenAI's ChatCompletion."""
    progress = Progress()
    async with call.lease() as model:
        content = "".join([piece async for piece in _texts(call, model, progress)])
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": progress.finish_reason,
        "logprobs": None,
    }
    completion = {
        **_head(call, "chat.completion"),
        "choices": [choice],
        "usage": progress.usage(),
    }
    return with_notice(completion, call.row)


async def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer piece by piece: ChatCompletionChunk objects, or SSE text on the OpenAI route."""
    events = coalesce(_chunks(call), _merge)
    async with aclosing(events):
        async for event in events:
            yield event if call.route is None else sse(event)
    if call.route is not None:
        yield "data: [DONE]\n\n"


async def _chunks(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    """A chunk with the role, one per piece of text, one with the finish reason, and the usage."""
    request: ChatRequest = call.request
    include_usage = request.stream_options.include_usage
    progress = Progress()
    head = with_notice(_head(call, "chat.completion.chunk"), call.row)

    def chunk(delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": None}
        # OpenAI: with include_usage every chunk has the field, null until the last.
        return {**head, "choices": [choice], **({"usage": None} if include_usage else {})}

    async with call.lease() as model, aclosing(_texts(call, model, progress)) as pieces:
        yield chunk({"role": "assistant", "content": ""})
        async for piece in pieces:
            yield chunk({"content": piece})
        yield chunk({}, progress.finish_reason)
    if include_usage:
        yield {**head, "choices": [], "usage": progress.usage()}


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Join two neighbouring chunks of text into one, None when they must stay apart."""
    if not (first["choices"] and second["choices"]):
        return None
    left, right = first["choices"][0], second["choices"][0]
    if "role" in left["delta"] or set(left["delta"]) != {"content"} or right["finish_reason"]:
        return None
    text = left["delta"]["content"] + right["delta"]["content"]
    return {**second, "choices": [{**right, "delta": {"content": text}}]}


def _head(call: Call, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": call.row.slug,
    }


SURFACE = Surface(
    name="chat",
    request=ChatRequest,
    marks=("messages",),
    routes=("/v1/chat/completions",),
    answer=answer,
    stream=stream,
    concurrency=8,
)

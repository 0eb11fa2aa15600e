"""Chat: ``POST /v1/chat/completions``."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from handler.contract.base import Call, Json, Surface, with_notice
from handler.contract.chat_request import MAX_TOKENS, ChatRequest
from handler.contract.streaming import coalesce, sse
from models.chat import Generated, Prompt, Sampling
from models.chat_text import StopStrings
from models.pool import Warm


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
    messages = [message.plain() for message in request.messages]
    tokens: list[int] = await asyncio.to_thread(text.encode, messages)
    return tokens


def _fit(sampling: Sampling, request: ChatRequest, model: Warm, prompt_tokens: int) -> Sampling:
    """A default answer length shrinks to the room that is left; one that was asked for does not."""
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
    concurrency=3,
)

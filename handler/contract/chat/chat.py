"""Chat: ``POST /v1/chat/completions``, and its elder ``/v1/completions``."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from handler.contract.base import Call, Json, Operation, Surface, with_notice
from handler.contract.chat import completions
from handler.contract.chat.generation import Progress, pieces, usage
from handler.contract.chat.request import ChatRequest
from handler.contract.streaming import to_client
from models.warm.model import Borrowed


async def _texts(call: Call, model: Borrowed, progress: Progress) -> AsyncGenerator[str, None]:
    """Yield the answer's text in pieces."""
    request: ChatRequest = call.request
    tokens = await asyncio.to_thread(model.engine.text.encode, request.conversation)
    async with aclosing(pieces(call, model, tokens, progress)) as parts:
        async for part in parts:
            yield part


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
        "usage": usage(progress),
    }
    return with_notice(completion, call.row)


def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer piece by piece: ChatCompletionChunk objects, or SSE text on the OpenAI route."""
    return to_client(_chunks(call), _merge, call.route)


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

    async with call.lease() as model, aclosing(_texts(call, model, progress)) as texts:
        yield chunk({"role": "assistant", "content": ""})
        async for text in texts:
            yield chunk({"content": text})
        yield chunk({}, progress.finish_reason)
    if include_usage:
        yield {**head, "choices": [], "usage": usage(progress)}


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
    operations=(
        Operation(ChatRequest, ("/v1/chat/completions",), answer, stream, marks=("messages",)),
        completions.OPERATION,
    ),
    companions=frozenset({"documents"}),  # of a chat with retrieval
    concurrency=2,
)

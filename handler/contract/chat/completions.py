"""Completions: ``POST /v1/completions``, text that goes on as it is, without a chat template.

Several prompts are answered at once; the choices of the first come first.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.adapters import adapter_of
from handler.contract.chat.choice import Delta, Spelled, merged
from handler.contract.chat.completion_request import CompletionRequest
from handler.contract.chat.generation import (
    Asked,
    GrowingAnswers,
    deltas,
    engine_of,
    lane,
    usage,
)
from handler.contract.streaming import to_client, together
from handler.contract.warnings import with_warnings
from models.chat.protocols import Text
from models.chat.request import Said
from models.errors import ContextLengthExceeded, InvalidValue
from models.warm.model import Borrowed


async def _deltas(
    call: Call, progress: Sequence[GrowingAnswers]
) -> AsyncGenerator[tuple[int, Delta], None]:
    """Yield what every prompt brings, all in one batch, with the index of its choice.

    ``progress`` is of each prompt, and kept up with it.
    """
    request: CompletionRequest = call.request
    adapter, warnings = await adapter_of(call)
    async with call.lease() as model:
        text = engine_of(model).text
        prompts = await asyncio.to_thread(_prompts_of, text, request)
        asked = [replace(prompt, adapter=adapter, left_out=warnings) for prompt in prompts]
        answers = _nothing if request.max_tokens == 0 else deltas
        streams = [
            answers(call, model, prompt, known, request.stops)
            for prompt, known in zip(asked, progress, strict=True)
        ]
        async with aclosing(together(streams)) as events:
            begun: set[int] = set()
            async for index, delta in events:
                if request.echo and index not in begun:  # what is refused is an error alone
                    begun.add(index)
                    said = Said(_as_text(text, request.prompts[index]))
                    for choice in range(request.n):
                        yield index * request.n + choice, Delta(choice, (said,))
                yield index * request.n + delta.choice, delta


async def _nothing(
    call: Call, model: Borrowed, asked: Asked, progress: GrowingAnswers, stops: Sequence[str]
) -> AsyncGenerator[Delta, None]:
    """Answer no tokens, as ``max_tokens: 0`` asks; the prompt is counted and not read.

    Raises:
        ContextLengthExceeded: the prompt is longer than the model's context.
    """
    length, most = len(asked.tokens), engine_of(model).context
    if length > most:
        excess = f"{asked.param} has {length} tokens"
        raise ContextLengthExceeded.of_chat(most, excess, asked.param)
    progress.prompt_tokens = length
    for choice in range(call.request.n):
        yield Delta(choice, finish_reason="length")


def _as_text(text: Text, prompt: str | list[int]) -> str:
    return prompt if isinstance(prompt, str) else text.decode(prompt)


def _prompts_of(text: Text, request: CompletionRequest) -> list[Asked]:
    """Each prompt, ready for the engine."""
    grammar = request.grammar()
    return [
        Asked(_encode(text, prompt, f"prompt[{index}]"), grammar=grammar, param="prompt")
        for index, prompt in enumerate(request.prompts)
    ]


def _encode(text: Text, prompt: str | list[int], param: str) -> list[int]:
    if isinstance(prompt, str):
        return text.encode_text(prompt) if prompt else text.beginning
    unknown = next((token for token in prompt if token >= text.vocabulary), None)
    if unknown is not None:
        raise InvalidValue(
            f"{param} holds token {unknown}; the model's vocabulary ends at {text.vocabulary - 1}.",
            param="prompt",
        )
    return prompt


async def answer(call: Call) -> Json:
    """Answer in one piece: OpenAI's Completion."""
    request: CompletionRequest = call.request
    progress = [GrowingAnswers() for _ in request.prompts]
    said: list[list[Delta]] = [[] for _ in range(len(progress) * request.n)]
    async with aclosing(_deltas(call, progress)) as events:
        async for place, delta in events:
            said[place].append(delta)
    choices = []
    for place, told in enumerate(said):
        whole = merged(told)
        logprobs = _logprobs(whole["logprobs"], request)
        choices.append(_choice(place, whole["text"], whole["finish_reason"], logprobs))
    whole = {**_head(call), "choices": choices, "usage": usage(*progress)}
    return with_notice(with_warnings(whole, progress[0].left_out), call.row)


def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer piece by piece: Completion objects, or SSE text on the OpenAI route."""
    return to_client(_chunks(call), _merge, call.route, lane)


async def _chunks(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    request: CompletionRequest = call.request
    head = with_notice(_head(call), call.row)
    progress = [GrowingAnswers() for _ in request.prompts]
    begun = False
    async with aclosing(_deltas(call, progress)) as events:
        async for place, delta in events:
            if not begun:
                begun, head = True, with_warnings(head, progress[0].left_out)
            text = "".join(piece.text for piece in delta.pieces if isinstance(piece, Said))
            told = _logprobs(delta.logprobs, request)
            if text or told:
                yield {**head, "choices": [_choice(place, text, None, told)]}
            if delta.finish_reason is not None:
                yield {**head, "choices": [_choice(place, "", delta.finish_reason)]}
    if request.stream_options.include_usage:
        yield {**head, "choices": [], "usage": usage(*progress)}


def _choice(
    index: int, text: str, reason: str | None = None, logprobs: dict[str, Any] | None = None
) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": logprobs, "finish_reason": reason}


def _logprobs(told: Sequence[Spelled], request: CompletionRequest) -> dict[str, Any] | None:
    """OpenAI's older form, of which every list has one element a token."""
    if request.logprobs is None or not told:
        return None
    return {
        "tokens": [_word(token.content) for token in told],
        "token_logprobs": [token.logprob for token in told],
        # The token itself is told even where others were likelier.
        "top_logprobs": [
            {_word(word): value for word, value in (*token.top, (token.content, token.logprob))}
            for token in told
        ],
        "text_offset": [token.at for token in told],
    }


def _word(content: bytes) -> str:
    """A token's text; of one that is no whole character OpenAI's form tells the bytes."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in content)


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Join two chunks of one choice, None when they must stay apart."""
    left, right = first["choices"][0], second["choices"][0]
    if left["finish_reason"]:
        return None
    logprobs = left["logprobs"] or right["logprobs"]
    if left["logprobs"] and right["logprobs"]:
        logprobs = {name: left["logprobs"][name] + right["logprobs"][name] for name in logprobs}
    text = left["text"] + right["text"]
    return {**second, "choices": [{**right, "text": text, "logprobs": logprobs}]}


def _head(call: Call) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": call.model,
    }


OPERATION = Operation(CompletionRequest, ("/v1/completions",), answer, stream, task="chat")

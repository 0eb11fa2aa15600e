"""Chat: ``POST /v1/chat/completions``. Shapes after OpenAI's ChatCompletion and its chunk."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.adapters import adapter_of
from handler.contract.chat.choice import Delta, Spelled, merged
from handler.contract.chat.generation import Asked, GrowingAnswers, deltas, engine_of, lane, usage
from handler.contract.chat.pictures import Seen, fetched
from handler.contract.chat.request import ChatRequest
from handler.contract.chat.tools import asked_form, call_id
from handler.contract.streaming import Whole, to_client
from handler.contract.warnings import with_warnings
from models.chat.request import Called, Said
from models.leniency import Leniency
from models.warm.model import Borrowed


def conversation_prompt(call: Call, model: Borrowed, seen: Seen) -> Asked:
    """Return the prompt of a ``ChatRequest``.

    Args:
        call: of the request.
        model: that is asked.
        seen: the pictures of the request.

    Raises:
        RequestError: the model cannot read it, or not answer in the form that is asked for.
    """
    request: ChatRequest = call.request
    text, tools, form = engine_of(model).text, request.told_tools, request.grammar()
    grammar = asked_form(
        text.family,
        call.row.slug,
        tools,
        request.tool_choice,
        form,
        several=request.parallel_tool_calls,
    )
    plain = [tool.plain() for tool in tools.values()]
    thinks, leniency = text.family is not None and text.family.thinks, Leniency(request.strict)
    wish = request.wish.arguments(call.row.slug, text.variables, thinks, leniency)
    arguments = {**wish, **request.chat_template_kwargs}
    rendered = text.render(request.turns(seen.counts), plain, arguments, goes_on=request.goes_on)
    formed = request.must_call or form is not None
    thinks = thinks and not formed
    read = text.family is not None and (bool(tools) or thinks)
    return Asked(
        tokens=text.encode_rendered(rendered),
        rendered=rendered if read else None,
        tools=plain,
        several=request.parallel_tool_calls,
        formed=formed,
        grammar=grammar,
        left_out=leniency.left_out,
        pictures=seen.pictures,
    )


async def converse(
    call: Call, progress: GrowingAnswers, seen: Seen | None = None
) -> AsyncGenerator[Delta, None]:
    """Yield what is new of each answer to a ``ChatRequest``.

    Args:
        call: of the request.
        progress: is kept up with it.
        seen: the request's pictures, where they are here already.
    """
    request: ChatRequest = call.request
    if seen is None:
        seen = await fetched(call, request.references)
    adapter, warnings = await adapter_of(call)
    # A call that must be made is not broken off in the middle.
    stops = () if request.must_call else request.stops
    async with call.lease() as model:
        asked = await asyncio.to_thread(conversation_prompt, call, model, seen)
        asked = replace(asked, adapter=adapter, left_out=(*warnings, *asked.left_out))
        async with aclosing(deltas(call, model, asked, progress, stops)) as parts:
            async for part in parts:
                yield part


async def answer(call: Call) -> Json:
    """Answer in one piece: OpenAI's ChatCompletion."""
    progress = GrowingAnswers()
    said: dict[int, list[Delta]] = {index: [] for index in range(call.request.n)}
    async with aclosing(converse(call, progress)) as parts:
        async for delta in parts:
            said[delta.choice].append(delta)
    return _completion(call, completion_head(call, "chat.completion"), said, progress)


def _completion(
    call: Call, head: dict[str, Any], said: Mapping[int, Sequence[Delta]], progress: GrowingAnswers
) -> Json:
    """OpenAI's ChatCompletion of what each choice said."""
    choices = [_choice(index, parts) for index, parts in said.items()]
    answer = {**head, "choices": choices, "usage": usage(progress)}
    return with_notice(with_warnings(answer, progress.left_out), call.row)


def _choice(index: int, parts: Sequence[Delta]) -> dict[str, Any]:
    told = merged(parts)
    message: dict[str, Any] = {"role": "assistant", "content": told["text"], "refusal": None}
    if told["thought"]:
        message["reasoning_content"] = told["thought"]
    if told["calls"]:
        message["content"] = told["text"] or None
        message["tool_calls"] = [
            {"id": call_id(), "type": "function", "function": _function(call)}
            for call in told["calls"]
        ]
    return {
        "index": index,
        "message": message,
        "finish_reason": told["finish_reason"],
        "logprobs": _logprobs(told["logprobs"]),
    }


def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer piece by piece: ChatCompletionChunk objects, or SSE text on the OpenAI route."""
    return to_client(_chunks(call), _merge, call.route, lane)


async def _chunks(call: Call) -> AsyncGenerator[dict[str, Any] | Whole, None]:
    """Yield each choice's role, pieces and finish reason; then the usage, and the whole answer."""
    request: ChatRequest = call.request
    include_usage = request.stream_options.include_usage
    progress = GrowingAnswers()
    head = with_notice(completion_head(call, "chat.completion.chunk"), call.row)
    calls = dict.fromkeys(range(request.n), 0)
    said: dict[int, list[Delta]] = {index: [] for index in range(request.n)}

    def chunk(
        index: int,
        delta: dict[str, Any],
        logprobs: Sequence[Spelled] = (),
        reason: str | None = None,
    ) -> dict[str, Any]:
        choice = {
            "index": index,
            "delta": delta,
            "finish_reason": reason,
            "logprobs": _logprobs(logprobs),
        }
        # OpenAI: with include_usage every chunk has the field, null until the last.
        return {**head, "choices": [choice], **({"usage": None} if include_usage else {})}

    async with aclosing(converse(call, progress)) as parts:
        begun = False
        async for part in parts:
            if not begun:  # what is refused is an error alone
                begun = True
                for index in range(request.n):
                    yield with_warnings(
                        chunk(index, {"role": "assistant", "content": ""}), progress.left_out
                    )
            said[part.choice].append(part)
            told = list(_delta_chunks(part, calls))
            for at, delta in enumerate(told):
                yield chunk(part.choice, delta, part.logprobs if at == 0 else ())
            if part.logprobs and not told:
                yield chunk(part.choice, {"content": ""}, part.logprobs)
            if part.finish_reason is not None:
                yield chunk(part.choice, {}, reason=part.finish_reason)
    if include_usage:
        yield {**head, "choices": [], "usage": usage(progress)}
    if call.route is None:
        whole_head = {**completion_head(call, "chat.completion"), "id": head["id"]}
        yield Whole(_completion(call, whole_head, said, progress))


def _delta_chunks(part: Delta, calls: dict[int, int]) -> Iterator[dict[str, Any]]:
    """OpenAI's deltas of what is new; ``calls`` counts those of each choice."""
    for piece in part.pieces:
        if isinstance(piece, Said):
            yield {"content": piece.text}
        elif isinstance(piece, Called):
            place = calls[part.choice]
            calls[part.choice] += 1
            function = {"name": piece.name, "arguments": ""}
            named = {"index": place, "id": call_id(), "type": "function", "function": function}
            yield {"tool_calls": [named]}
            yield {"tool_calls": [{"index": place, "function": {"arguments": piece.arguments}}]}
        else:
            yield {"reasoning_content": piece.text}


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Join two neighbouring chunks of text into one, None when they must stay apart."""
    left, right = first["choices"][0], second["choices"][0]
    kind = next(iter(left["delta"]), None)
    joinable = kind in ("content", "reasoning_content") and len(left["delta"]) == 1
    if not joinable or set(right["delta"]) != {kind} or right["finish_reason"]:
        return None
    text = left["delta"][kind] + right["delta"][kind]
    logprobs = left["logprobs"] or right["logprobs"]
    if left["logprobs"] and right["logprobs"]:
        content = left["logprobs"]["content"] + right["logprobs"]["content"]
        logprobs = {"content": content, "refusal": None}
    return {**second, "choices": [{**right, "delta": {kind: text}, "logprobs": logprobs}]}


def _logprobs(told: Sequence[Spelled]) -> dict[str, Any] | None:
    """OpenAI's ChoiceLogprobs, None where there are none."""
    if not told:
        return None
    content = [
        {
            **_token(token.content, token.logprob),
            "top_logprobs": [_token(content, logprob) for content, logprob in token.top],
        }
        for token in told
    ]
    return {"content": content, "refusal": None}


def _token(content: bytes, logprob: float) -> dict[str, Any]:
    return {
        "token": content.decode("utf-8", "replace"),
        "logprob": logprob,
        "bytes": list(content),
    }


def _function(call: Called) -> dict[str, str]:
    return {"name": call.name, "arguments": call.arguments}


def completion_head(call: Call, kind: str) -> dict[str, Any]:
    """Return what every answer of chat begins with; ``kind`` is its ``object``."""
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": call.model,
    }


OPERATION = Operation(
    ChatRequest,
    ("/v1/chat/completions",),
    answer,
    stream,
    marks=("messages",),
    task="chat",
    # Two tokens: the first is of the prompt's step, the second of the first of its own.
    rehearsal=lambda _: {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
)

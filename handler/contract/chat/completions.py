"""Completions: ``POST /v1/completions``, text that goes on as it is, without a chat template.

Several prompts are answered one after the other, each as one choice.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, ClassVar, Self, cast

from pydantic import Field, model_validator

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.chat.generation import GenerationRequest, Progress, pieces, usage
from handler.contract.request import Integer, NonEmpty, Unsupported
from handler.contract.streaming import to_client
from models.errors import InvalidValue

Tokens = Annotated[list[Annotated[Integer, Field(ge=0)]], Field(min_length=1)]
MAX_PROMPTS = 20  # OpenAI's limit
_DEFAULT_TOKENS = 16  # OpenAI's


class CompletionRequest(GenerationRequest):
    """The body of a completions request."""

    unsupported: ClassVar = GenerationRequest.unsupported | {
        "best_of": Unsupported(1),
        "logprobs": Unsupported(),
        "suffix": Unsupported(),
        "system": Unsupported(instead="write it at the beginning of prompt"),
    }

    prompt: (
        NonEmpty
        | Tokens
        | Annotated[list[NonEmpty], Field(min_length=1)]
        | Annotated[list[Tokens], Field(min_length=1)]
    )
    echo: bool = False

    @model_validator(mode="after")
    def _not_too_many(self) -> Self:
        if len(self.prompts) > MAX_PROMPTS:
            raise InvalidValue(
                f"prompt may hold {MAX_PROMPTS} prompts at most; got {len(self.prompts)}.",
                param="prompt",
            )
        return self

    @property
    def asked_tokens(self) -> int | None:
        """OpenAI answers 16 tokens here when nothing is said."""
        return self.max_tokens or _DEFAULT_TOKENS

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt, a text or its token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(cast("list[str | list[int]]", self.prompt))


# The choice's index, a piece of its text (None: it has ended), and what is known of it.
Event = tuple[int, str | None, Progress]


async def _events(call: Call) -> AsyncGenerator[Event, None]:
    """Every piece of every choice, one choice after the other."""
    request: CompletionRequest = call.request
    async with call.lease() as model:
        text = model.engine.text
        for index, prompt in enumerate(request.prompts):
            progress = Progress()
            tokens = await asyncio.to_thread(_encode, text, prompt, f"prompt[{index}]")
            if request.echo:
                yield index, text.decode(tokens) if isinstance(prompt, list) else prompt, progress
            async with aclosing(pieces(call, model, tokens, progress)) as parts:
                async for part in parts:
                    yield index, part, progress
            yield index, None, progress


def _encode(text: Any, prompt: str | list[int], param: str) -> list[int]:
    if isinstance(prompt, str):
        tokens: list[int] = text.encode_text(prompt)
        return tokens
    unknown = next((one for one in prompt if one >= text.vocabulary), None)
    if unknown is not None:
        raise InvalidValue(
            f"{param} holds token {unknown}; the model's vocabulary ends at {text.vocabulary - 1}.",
            param="prompt",
        )
    return prompt


async def answer(call: Call) -> Json:
    """Answer in one piece: OpenAI's Completion."""
    texts: dict[int, list[str]] = {}
    known: dict[int, Progress] = {}
    async with aclosing(_events(call)) as events:
        async for index, text, progress in events:
            texts.setdefault(index, []).append(text or "")
            known[index] = progress
    choices = [_choice(index, "".join(texts[index]), known[index].finish_reason) for index in texts]
    completion = {**_head(call), "choices": choices, "usage": usage(*known.values())}
    return with_notice(completion, call.row)


def stream(call: Call) -> AsyncGenerator[Json, None]:
    """Answer piece by piece: Completion objects, or SSE text on the OpenAI route."""
    return to_client(_chunks(call), _merge, call.route)


async def _chunks(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    request: CompletionRequest = call.request
    head = with_notice(_head(call), call.row)
    known: dict[int, Progress] = {}
    async with aclosing(_events(call)) as events:
        async for index, text, progress in events:
            known[index] = progress
            reason = progress.finish_reason if text is None else None
            yield {**head, "choices": [_choice(index, text or "", reason)]}
    if request.stream_options.include_usage:
        yield {**head, "choices": [], "usage": usage(*known.values())}


def _choice(index: int, text: str, reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": reason}


def _merge(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any] | None:
    """Join two neighbouring chunks of one choice, None when they must stay apart."""
    if not (first["choices"] and second["choices"]):
        return None
    left, right = first["choices"][0], second["choices"][0]
    if left["index"] != right["index"] or left["finish_reason"]:
        return None
    return {**second, "choices": [{**right, "text": left["text"] + right["text"]}]}


def _head(call: Call) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid.uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": call.row.slug,
    }


OPERATION = Operation(CompletionRequest, ("/v1/completions",), answer, stream)

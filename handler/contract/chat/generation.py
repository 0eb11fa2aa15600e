"""What chat and completions share: how text is asked for, and how it comes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from handler.contract.base import Call
from handler.contract.chat.stops import StopStrings
from handler.contract.request import Integer, NonEmpty, Request, Unsupported
from models.chat.request import Generated, Prompt, Sampling
from models.warm.model import Borrowed

MAX_TOKENS = 8192


class StreamOptions(BaseModel):
    """What a stream carries besides the text."""

    model_config = ConfigDict(strict=True)

    include_usage: bool = False
    include_obfuscation: bool = False  # random padding against eavesdroppers; taken, never sent


class GenerationRequest(Request):
    """The fields that say how text is generated."""

    unsupported: ClassVar = {
        "frequency_penalty": Unsupported(0),
        "logit_bias": Unsupported({}),
        "n": Unsupported(1),
        "presence_penalty": Unsupported(0),
    }
    aliases: ClassVar = {"max_new_tokens": "max_tokens", "stop_sequences": "stop"}

    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[Integer, Field(ge=0)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=10)] | None = None
    max_tokens: Annotated[Integer, Field(ge=1, le=MAX_TOKENS)] | None = None
    stop: NonEmpty | Annotated[list[NonEmpty], Field(max_length=4)] = Field(default=[])
    seed: Annotated[Integer, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool = False
    stream_options: StreamOptions = StreamOptions()

    @property
    def asked_tokens(self) -> int | None:
        """The answer's length that was asked for."""
        return self.max_tokens

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
            max_tokens=self.asked_tokens or call.default("max_tokens"),
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


def usage(*parts: Progress) -> dict[str, int]:
    """OpenAI's CompletionUsage over all parts of an answer."""
    prompt_tokens = sum(part.prompt_tokens for part in parts)
    completion_tokens = sum(part.completion_tokens for part in parts)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


async def pieces(
    call: Call, model: Borrowed, tokens: Sequence[int], progress: Progress
) -> AsyncGenerator[str, None]:
    """Yield the text that follows ``tokens``: whole characters only, ending before a stop string.

    ``progress`` is kept up with it.
    """
    request: GenerationRequest = call.request
    progress.prompt_tokens = len(tokens)
    decoder, stops = model.engine.text.decoder(), StopStrings(request.stops)
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


def _fit(
    sampling: Sampling, request: GenerationRequest, model: Borrowed, prompt_tokens: int
) -> Sampling:
    """A default answer length shrinks to the room that is left; one that was asked for does not."""
    room = model.engine.context - prompt_tokens
    if request.asked_tokens is None and room > 0:
        return replace(sampling, max_tokens=min(sampling.max_tokens or MAX_TOKENS, room))
    return sampling

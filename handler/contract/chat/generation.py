"""What chat, completions and responses share: a prompt for the engine, and the text as it grows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from handler.contract.base import Call
from handler.contract.chat.choice import ChoiceText, Delta
from handler.contract.chat.generation_request import GenerationRequest
from models.chat.protocols import ChatEngine
from models.chat.request import Adapter, Begun, Ended, Grammar, Prompt, Tokens
from models.leniency import LeftOut
from models.pictures.request import InputPicture
from models.warm.model import Borrowed


@dataclass(frozen=True)
class Asked:
    """One prompt, ready for the engine.

    Attributes:
        tokens: of the prompt.
        rendered: the prompt's text, where answers to it are read for calls and thoughts.
        tools: that the model was told of.
        several: whether an answer may hold more than one call.
        formed: whether ``grammar`` leaves calls and a form only.
        grammar: what answers must match.
        param: the field that held the prompt.
        left_out: the fields that the model has no use for.
        pictures: in their order in the prompt.
        adapter: to answer with.
    """

    tokens: Sequence[int]
    rendered: str | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    several: bool = True
    formed: bool = False
    grammar: Grammar | None = None
    param: str = "messages"
    left_out: Sequence[LeftOut] = ()
    pictures: tuple[InputPicture, ...] = ()
    adapter: str | Adapter | None = None


@dataclass
class GrowingAnswers:
    """The answers to one prompt while they grow.

    Attributes:
        left_out: the request's fields that the model has no use for.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    choices: list[ChoiceText] = field(default_factory=list)
    left_out: Sequence[LeftOut] = ()

    @property
    def completion_tokens(self) -> int:
        """The tokens written, of all choices."""
        return sum(choice.tokens for choice in self.choices)

    @property
    def thought_tokens(self) -> int:
        """The tokens of reasoning, of all choices."""
        return sum(choice.thought_tokens for choice in self.choices)


def usage(*parts: GrowingAnswers) -> dict[str, Any]:
    """OpenAI's CompletionUsage over all parts of an answer."""
    prompt_tokens = sum(part.prompt_tokens for part in parts)
    completion_tokens = sum(part.completion_tokens for part in parts)
    thought = sum(part.thought_tokens for part in parts)
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": sum(part.cached_tokens for part in parts)},
        **({"completion_tokens_details": {"reasoning_tokens": thought}} if thought else {}),
    }


def engine_of(model: Borrowed) -> ChatEngine:
    """The engine of a borrowed chat model, for what needs no device."""
    engine: ChatEngine = model.engine
    return engine


async def deltas(
    call: Call, model: Borrowed, asked: Asked, progress: GrowingAnswers, stops: Sequence[str]
) -> AsyncGenerator[Delta, None]:
    """Yield what is new of each choice, as it comes; ``progress`` is kept up with it."""
    request: GenerationRequest = call.request
    text = engine_of(model).text
    progress.prompt_tokens = len(asked.tokens)
    progress.left_out = asked.left_out

    def choice(index: int) -> ChoiceText:
        reading = None
        if asked.rendered is not None:
            reading = text.reading(asked.rendered, asked.tools, formed=asked.formed)
        return ChoiceText(index, text, stops, reading, asked.tokens, several=asked.several)

    choices = progress.choices = [choice(index) for index in range(request.n)]
    prompt = Prompt(
        tokens=tuple(asked.tokens),
        sampling=request.sampling(call, text.vocabulary),
        n=request.n,
        grammar=asked.grammar,
        adapter=asked.adapter,
        param=asked.param,
        pictures=asked.pictures,
    )
    async with aclosing(model.stream(prompt)) as events:
        async for event in events:
            if isinstance(event, Begun):
                progress.cached_tokens = event.cached_tokens
                progress.prompt_tokens = event.prompt_tokens or progress.prompt_tokens
                yield Delta(0)  # a stream can begin
            elif isinstance(event, Ended) and not choices[event.choice].ended:
                yield choices[event.choice].end(event.finish_reason)
            elif isinstance(event, Tokens):
                for delta in _new_text(choices[event.choice], event):
                    yield delta
                if choices[event.choice].ended:
                    prompt.dropped.add(event.choice)
            if all(choice.ended for choice in choices):
                return


def _new_text(choice: ChoiceText, event: Tokens) -> Sequence[Delta]:
    """Yield the text that tokens bring, up to a stop string."""
    logprobs = event.logprobs or (None,) * len(event.tokens)
    told = []
    for token, logprob in zip(event.tokens, logprobs, strict=True):
        if choice.ended:
            break
        if (delta := choice.push(token, logprob)) is not None:
            told.append(delta)
    return told


def lane(chunk: dict[str, Any]) -> int | None:
    """For ``to_client``: chunks of other choices may pass; the usage comes after all."""
    return chunk["choices"][0]["index"] if chunk["choices"] else None

"""What is asked of a chat engine, and what it emits: token ids in, token ids out.

An engine of any kind stands behind these types. Templates, text, stop strings, tools and OpenAI's
shapes are above it, and the same for all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from models.pictures.request import InputPicture

GREEDY_BELOW = 1e-5  # dividing scores by less overflows; the likeliest token is the limit anyway


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, in this order.

    A grammar leaves what may follow. ``logit_bias`` is added, what would end an answer of fewer
    than ``min_tokens`` is left out. Penalties come next: repetition, frequency, presence. Then the
    scores are divided by the temperature, and min_p, top_k and top_p cut off what is unlikely.

    Attributes:
        max_tokens: stop after this many; None = up to the end of the context.
        min_tokens: do not stop before.
        temperature: 0 = always the likeliest token.
        top_p: keep the likeliest tokens that together have this probability.
        top_k: keep this many likeliest tokens; 0 = all.
        min_p: keep tokens at least this likely, relative to the likeliest.
        repetition_penalty: divide positive scores (multiply negative ones) of tokens in prompt or
            answer; 1 = off.
        frequency_penalty: subtract this for each time that a token is in the answer (OpenAI's).
        presence_penalty: subtract this from tokens that are in the answer (OpenAI's).
        logit_bias: added to the scores of tokens, by their ids.
        ignore_eos: go on after what ends a turn.
        seed: same seed, same tokens; of choice ``i`` it is ``seed + i``. None = a fresh one.
        logprobs: how many of the likeliest tokens to tell with each; None = not even its own.
    """

    max_tokens: int | None = None
    min_tokens: int = 0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    ignore_eos: bool = False
    seed: int | None = None
    logprobs: int | None = None

    @property
    def greedy(self) -> bool:
        """Whether chance has no part in it."""
        return self.temperature < GREEDY_BELOW


@dataclass(frozen=True)
class Embedded:
    """A client's JSON Schema within a grammar, which is all of a rule: ``rule: %json {…}``.

    Attributes:
        rule: its name.
        param: the field that the client gave the schema in, for errors.
        closed: whether an object that lists properties has no others, unless the schema says so.
    """

    rule: str
    param: str
    closed: bool = False


Refusal = tuple[str, str]  # the client's field, and why its grammar cannot be honoured
TOO_COMPLEX = "it is too complex to be kept; simplify it"


@dataclass(frozen=True)
class Grammar:
    """What an answer must match, whole.

    Attributes:
        kind: how ``source`` is written: a JSON Schema, a regular expression (without lookaround and
            references), or llguidance's dialect of Lark.
        param: the field that the client gave it in, for errors.
        schemas: the JSON Schemas within it, which are the client's as they came.
    """

    kind: Literal["json_schema", "regex", "lark"]
    source: str
    param: str = field(default="response_format", compare=False)
    schemas: tuple[Embedded, ...] = field(default=(), compare=False)

    def compiled(self) -> str:
        """Return the grammar in llguidance's own form.

        Raises:
            ValueError: it is not written as its ``kind`` says.
        """
        from llguidance import LLMatcher

        make = {
            "json_schema": LLMatcher.grammar_from_json_schema,
            "regex": LLMatcher.grammar_from_regex,
            "lark": LLMatcher.grammar_from_lark,
        }[self.kind]
        return str(make(self.source))


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter that a request brings.

    Attributes:
        name: as the request has it.
        folder: of its configuration and its weights, in peft's form.
        param: the field that it was named in, for errors.
    """

    name: str
    folder: Path
    param: str = field(default="lora", compare=False)


@dataclass(frozen=True)
class Prompt:
    """One request to a chat engine.

    Attributes:
        tokens: the prompt; each picture has one, the model's mark of it.
        sampling: of every choice.
        n: how many choices.
        grammar: what each must match, None = anything.
        adapter: the LoRA adapter to answer with, by its name if it is the model's, None = none.
        dropped: choices that nobody reads any more; the reader adds to it, the engine looks.
        param: the field that the client gave the prompt in, for errors.
        pictures: in their order in the prompt.
    """

    tokens: tuple[int, ...]
    sampling: Sampling
    n: int = 1
    grammar: Grammar | None = None
    adapter: str | Adapter | None = None
    dropped: set[int] = field(default_factory=set, compare=False)
    param: str = field(default="messages", compare=False)
    pictures: tuple[InputPicture, ...] = ()


@dataclass(frozen=True)
class Logprob:
    """The natural logarithm of a token's probability, before temperature and penalties.

    Attributes:
        top: the likeliest tokens at its place and theirs, the likeliest first.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Begun:
    """The prompt is read.

    Attributes:
        cached_tokens: of it that did not have to be read again.
        prompt_tokens: of it in all, where that is more than it was handed in with: pictures.
    """

    cached_tokens: int = 0
    prompt_tokens: int | None = None


@dataclass(frozen=True)
class Tokens:
    """Further tokens of one choice; never the one that ends a turn."""

    choice: int
    tokens: tuple[int, ...]
    logprobs: tuple[Logprob, ...] = ()


@dataclass(frozen=True)
class Ended:
    """One choice has ended, and why: ``stop`` or ``length``."""

    choice: int
    finish_reason: str


@dataclass(frozen=True)
class Said:
    """A piece of an answer's text."""

    text: str


@dataclass(frozen=True)
class Thought:
    """A piece of what the model thinks before it answers."""

    text: str


@dataclass(frozen=True)
class Called:
    """A call of one of the client's functions.

    Attributes:
        arguments: a JSON object, as text; the beginning of one where the call is cut.
        cut: whether the answer ended within the call.
    """

    name: str
    arguments: str
    cut: bool = False


Piece = Said | Thought | Called

"""What is asked of a chat engine, and what it emits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        max_tokens: stop after this many; None = up to the end of the context.
        temperature: 0 = always the likeliest token.
        top_p: keep the likeliest tokens that together have this probability.
        top_k: keep this many likeliest tokens; 0 = all.
        min_p: keep tokens at least this likely, relative to the likeliest.
        repetition_penalty: divide the scores of tokens already seen; 1 = off.
        seed: same seed, same tokens; None = a fresh one.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None


@dataclass(frozen=True)
class Prompt:
    """One request to a chat engine."""

    tokens: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True)
class Generated:
    """The end of a stream of token ids: why it ended (``stop`` or ``length``)."""

    finish_reason: str

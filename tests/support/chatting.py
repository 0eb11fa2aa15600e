"""Driving a chat engine step by step, and what its answers are held against."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from models.chat.request import Begun, Ended, Logprob, Prompt, Sampling, Tokens
from models.work import Done


@dataclass
class Heard:
    """What came of one request."""

    tokens: dict[int, list[int]] = field(default_factory=dict)
    logprobs: dict[int, list[Logprob]] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    cached: int | None = None
    error: Exception | None = None

    def note(self, event: Any) -> bool:
        """Whether it was the last."""
        if isinstance(event, Begun):
            assert self.cached is None
            self.cached = event.cached_tokens
        elif isinstance(event, Tokens):
            assert event.choice not in self.reasons
            self.tokens.setdefault(event.choice, []).extend(event.tokens)
            self.logprobs.setdefault(event.choice, []).extend(event.logprobs)
        elif isinstance(event, Ended):
            assert event.choice not in self.reasons
            self.reasons[event.choice] = event.finish_reason
        elif isinstance(event, Exception):
            self.error = event
        return isinstance(event, Done | Exception)


def ready(engine: Any, prompt: Prompt) -> Any:
    item = engine.prepare(prompt)
    return asyncio.run(item) if asyncio.iscoroutine(item) else item


def together(engine: Any, prompts: list[Prompt], apart: int = 0) -> list[Heard]:
    """Answer all; each is let in ``apart`` steps after the one before it."""
    heard = [Heard() for _ in prompts]
    waiting = list(enumerate(prompts))
    going: set[int] = set()
    step = 0
    while waiting or going:
        while waiting and step >= waiting[0][0] * apart:
            key, prompt = waiting.pop(0)
            engine.admit(key, ready(engine, prompt))
            going.add(key)
        for key, event in engine.step():
            if heard[key].note(event):
                going.discard(key)
        step += 1
        assert step < 20_000
    return heard


def alone(engine: Any, prompt: list[int], **sampling: Any) -> tuple[list[int], str]:
    [heard] = together(engine, [Prompt(tuple(prompt), Sampling(**sampling))])
    if heard.error is not None:
        raise heard.error
    return heard.tokens.get(0, []), heard.reasons[0]


class Reference:
    """Plain forward passes without a cache, and processors written down from their definitions."""

    def __init__(self, model: Any) -> None:
        self.model = model
        ends = model.generation_config.eos_token_id
        self.ends = set(ends if isinstance(ends, list) else [ends])

    def answer(
        self, prompt: list[int], choice: int = 0, **rules: Any
    ) -> tuple[list[int], list[Logprob], str]:
        sampling = Sampling(**rules)
        seed = sampling.seed
        chance = random.Random(None if seed is None else str(seed + choice))
        said: list[int] = []
        told: list[Logprob] = []
        assert sampling.max_tokens is not None
        while len(said) < sampling.max_tokens:
            with torch.inference_mode():
                logits = self.model(torch.tensor([prompt + said])).logits[0, -1]
            scores = logits.double().numpy()
            raw = _log_softmax(scores)
            token = self._next(scores, prompt, said, sampling, chance)
            if token in self.ends and not sampling.ignore_eos:
                return said, told, "stop"
            said.append(token)
            top = np.argsort(-raw, kind="stable")[: sampling.logprobs or 0]
            told.append(Logprob(token, raw[token], tuple((int(at), raw[at]) for at in top)))
        return said, told, "length"

    def _next(
        self, scores: Any, prompt: list[int], said: list[int], rules: Sampling, chance: Any
    ) -> int:
        scores = scores.copy()
        for token, bias in rules.logit_bias.items():
            scores[token] += bias
        if len(said) < rules.min_tokens:
            scores[list(self.ends)] = -math.inf
        for token in {*prompt, *said}:
            down = scores[token] / rules.repetition_penalty
            up = scores[token] * rules.repetition_penalty
            scores[token] = down if scores[token] > 0 else up
        for token, count in Counter(said).items():
            scores[token] -= rules.frequency_penalty * count + rules.presence_penalty
        if rules.temperature == 0:
            return int(scores.argmax())
        scores /= rules.temperature
        likely = np.exp(_log_softmax(scores))
        likely[likely < rules.min_p * likely.max()] = 0
        order = np.argsort(-likely, kind="stable")
        if rules.top_k:
            likely[order[rules.top_k :]] = 0
        likely /= likely.sum()
        before = np.cumsum(likely[order]) - likely[order]
        cut = order[1:][before[1:] >= rules.top_p]
        likely[cut] = 0
        sums = np.cumsum(likely / likely.sum())
        return int(np.searchsorted(sums, chance.random() * sums[-1], side="right"))


def _log_softmax(scores: Any) -> Any:
    shifted = scores - scores.max()
    return shifted - np.log(np.exp(shifted).sum())


def letters(length: int, seed: int = 0) -> list[int]:
    """A prompt."""
    return torch.randint(0, 256, (length,), generator=torch.manual_seed(seed)).tolist()


def agree(
    heard: Heard,
    reference: Reference,
    prompt: list[int],
    rules: dict[str, Any],
    tolerance: float = 1e-4,
) -> None:
    """Hold an answer against the reference's: tokens, how it ended, logprobs."""
    said, told, reason = reference.answer(prompt, **rules)
    assert heard.tokens.get(0, []) == said
    assert heard.reasons == {0: reason}
    if rules.get("logprobs") is None:
        assert not heard.logprobs.get(0)
        return
    for ours, theirs in zip(heard.logprobs[0], told, strict=True):
        assert ours.token == theirs.token
        assert ours.logprob == pytest.approx(theirs.logprob, abs=tolerance)
        assert [token for token, _ in ours.top] == [token for token, _ in theirs.top]
        assert [value for _, value in ours.top] == pytest.approx(
            [value for _, value in theirs.top], abs=tolerance
        )

"""Choose the next tokens of a batch from a model's scores, each choice by its own parameters.

Steps that only some choices need are computed for those only. Each choice has its own random
generator and draws one number per token, so that a seed gives the same tokens alone and in a
batch, on any device.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from models.chat.admission import Admission
from models.chat.grammar import Matcher
from models.chat.request import Logprob
from models.errors import InvalidValue

_CANDIDATES = 1024  # the top tokens; they nearly always include all that may be drawn
_WORTH_CANDIDATES = 8  # a vocabulary that is not this many times larger is sorted as quickly
_BELOW_ONE = 1 - 1e-12  # a draw must be below the sum of all probabilities


class Choice:
    """The state of one choice of a request.

    Args:
        key: the request's key.
        index: the index of the choice.
        item: the request.
        ends: the tokens that end a turn.
        matcher: follows the grammar, None without one.

    Attributes:
        tokens: the tokens generated so far.
        finish_reason: why the answer ended; None if it has not.
        error: the error that ends the choice.
    """

    def __init__(
        self, key: int, index: int, item: Admission, ends: frozenset[int], matcher: Matcher | None
    ) -> None:
        self.key, self.index, self.item, self.limit = key, index, item, item.limit
        self.prompt = item.prompt
        self.sampling = item.prompt.sampling
        self.matcher = matcher
        self.tokens: list[int] = []
        self.finish_reason: str | None = None
        self.error: InvalidValue | None = None
        self._ends = ends
        self._counts: Counter[int] = Counter()
        self._seen: Any = None
        seed = self.sampling.seed
        # The seed is text, because ``random`` ignores the sign of integers.
        self._random = random.Random(None if seed is None else str(seed + index))

    def push(self, token: int) -> bool:
        """Append the chosen token; return whether to show it, which is false for an end token."""
        if token in self._ends and (self.matcher is not None or not self.sampling.ignore_eos):
            self._follow(lambda matcher: matcher.end())
            self.finish_reason = "stop"
            return False
        self._follow(lambda matcher: matcher.push([token]))
        self.tokens.append(token)
        self._counts[token] += 1
        if len(self.tokens) >= self.limit:
            self.finish_reason = "length"
        return True

    def mask(self, scores: Any) -> None:
        """Forbid tokens that the grammar does not allow, in place."""
        self._follow(lambda matcher: matcher.mask(scores))

    def _follow(self, step: Callable[[Matcher], None]) -> None:
        """Advance the grammar; if that fails, it is an error of this choice only."""
        if self.matcher is None or self.error is not None:
            return
        try:
            step(self.matcher)
        except InvalidValue as error:
            self.error = error

    def adjust(self, scores: Any) -> None:
        """Apply bias and penalties in place; ``scores`` are float32, shape (vocabulary,)."""
        import torch

        sampling = self.sampling
        if sampling.logit_bias:
            ids = list(sampling.logit_bias)
            bias = [sampling.logit_bias[token] for token in ids]
            scores[ids] += torch.tensor(bias, dtype=scores.dtype, device=scores.device)
        if len(self.tokens) < sampling.min_tokens and self.matcher is None:
            scores[list(self._ends)] = -torch.inf
        if sampling.repetition_penalty != 1.0:
            self._repeat(scores)
        if self._counts and (sampling.frequency_penalty or sampling.presence_penalty):
            ids = list(self._counts)
            counts = torch.tensor(list(self._counts.values()), dtype=scores.dtype)
            penalty = sampling.frequency_penalty * counts + sampling.presence_penalty
            scores[ids] -= penalty.to(scores.device)

    def draw(self) -> float:
        """Return a random number, at least 0 and less than 1."""
        return self._random.random() * _BELOW_ONE

    def _repeat(self, scores: Any) -> None:
        """Penalise tokens of prompt and answer (Keskar et al., arXiv:1909.05858, section 4.1)."""
        import torch

        if self._seen is None:
            self._seen = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
            self._seen[list(set(self.prompt.tokens))] = True
        if self.tokens:
            self._seen[self.tokens[-1]] = True
        penalty = self.sampling.repetition_penalty
        penalised = torch.where(scores > 0, scores / penalty, scores * penalty)
        scores.copy_(torch.where(self._seen, penalised, scores))


def choose(choices: Sequence[Choice], scores: Any) -> list[tuple[int, Logprob | None]]:
    """Return the next token of each choice, and its log probability if requested.

    Args:
        choices: one per row.
        scores: float32, shape (choices, vocabulary); changed in place.
    """
    for choice, row in zip(choices, scores, strict=True):
        choice.mask(row)
    known = {
        index: scores[index].log_softmax(-1)
        for index, choice in enumerate(choices)
        if choice.sampling.logprobs is not None
    }
    for choice, row in zip(choices, scores, strict=True):
        choice.adjust(row)
    tokens = scores.argmax(-1)
    warm = [index for index, choice in enumerate(choices) if not choice.sampling.greedy]
    if warm:
        tokens[warm] = _sample([choices[index] for index in warm], scores[warm])
    chosen: list[int] = tokens.tolist()
    return [
        (token, _logprob(known[index], token, choices[index]) if index in known else None)
        for index, token in enumerate(chosen)
    ]


def _logprob(logprobs: Any, token: int, choice: Choice) -> Logprob:
    count = choice.sampling.logprobs or 0
    values, ids = logprobs.topk(count)
    top = tuple(zip(ids.tolist(), values.tolist(), strict=True))
    return Logprob(token, float(logprobs[token]), top)


def _sample(choices: Sequence[Choice], scores: Any) -> Any:
    """Draw a token for each row; shape (choices,)."""
    import torch

    def column(values: Sequence[float]) -> Any:
        return torch.tensor(values, dtype=scores.dtype, device=scores.device).unsqueeze(-1)

    rules = [choice.sampling for choice in choices]
    scores = scores / column([rule.temperature for rule in rules])
    if any(rule.min_p for rule in rules):
        least = column([max(rule.min_p, 1e-45) for rule in rules]).log()
        unlikely = scores < scores.amax(-1, keepdim=True) + least
        scores = scores.masked_fill(unlikely, -torch.inf)
    cut = [index for index, rule in enumerate(rules) if rule.top_k or rule.top_p < 1]
    if cut:
        picked = [rules[index] for index in cut]
        size = scores.shape[-1]
        scores[cut] = _likeliest(
            scores[cut],
            column([rule.top_k or size for rule in picked]),
            column([rule.top_p for rule in picked]),
        )
    draws = torch.tensor([choice.draw() for choice in choices], dtype=torch.float64)
    sums = scores.softmax(-1).to(torch.float64).cumsum(-1)
    aim = draws.to(scores.device).unsqueeze(-1) * sums[:, -1:]
    return torch.searchsorted(sums, aim, right=True).squeeze(-1).clamp(max=scores.shape[-1] - 1)


def _likeliest(scores: Any, top_k: Any, top_p: Any) -> Any:
    """Keep the ``top_k`` likeliest tokens, and of those the fewest whose sum reaches ``top_p``.

    A ``top_p`` of 1 has no effect, nor has a ``top_k`` of at least the vocabulary's size. Nearly
    always the kept tokens are among a thousand candidates, which are found without sorting all
    scores. Other rows are sorted completely.
    """
    import torch

    size = scores.shape[-1]
    if size < _WORTH_CANDIDATES * _CANDIDATES:
        return _by_sorting(scores, top_k, top_p)
    values, ids, whole = _candidates(scores)
    place = torch.arange(_CANDIDATES, device=scores.device)
    values = values.masked_fill(place >= top_k, -torch.inf)
    total = torch.where(top_k < size, values.logsumexp(-1, True), scores.logsumexp(-1, True))
    probabilities = (values - total).exp()
    sums = probabilities.cumsum(-1)
    beyond = (sums - probabilities >= top_p) & (top_p < 1) & (place > 0)
    values = values.masked_fill(beyond, -torch.inf)
    kept = torch.full_like(scores, -torch.inf).scatter_(-1, ids, values)
    # A top_p of 1 disables the filter: a sum that is rounded to 1 says nothing about the rest.
    unlimited = (top_k >= size) & (top_p >= 1)
    kept = torch.where(unlimited, scores, kept)
    enough = (top_k <= _CANDIDATES) | ((top_k >= size) & (sums[:, -1:] >= top_p))
    left = ~((whole & enough) | unlimited).squeeze(-1)
    if left.any():
        kept[left] = _by_sorting(scores[left], top_k[left], top_p[left])
    return kept


def _candidates(scores: Any) -> tuple[Any, Any, Any]:
    """Return the likeliest tokens of each row, in the order of a stable sort, and their ids.

    The third result, shape (rows, 1), is whether the selection is unique: no token that was left
    out has the same score as the last candidate.
    """
    import torch

    values, ids = scores.topk(_CANDIDATES + 1)
    # Tokens with equal scores come in any order: sort by id, then stably by score.
    ids, order = ids.sort(-1)
    values, order = values.gather(-1, order).sort(dim=-1, descending=True, stable=True)
    ids = ids.gather(-1, order)
    last, beyond = values[:, -2:-1], values[:, -1:]
    return values[:, :-1], ids[:, :-1], (last > beyond) | (beyond == -torch.inf)


def _by_sorting(scores: Any, top_k: Any, top_p: Any) -> Any:
    """Do what ``_likeliest`` does, for any scores."""
    import torch

    ordered, order = scores.sort(dim=-1, descending=True, stable=True)
    place = torch.arange(scores.shape[-1], device=scores.device)
    ordered = ordered.masked_fill(place >= top_k, -torch.inf)
    probabilities = ordered.softmax(-1)
    before = probabilities.cumsum(-1) - probabilities
    beyond = (before >= top_p) & (top_p < 1) & (place > 0)  # rounded sums reach 1 too early
    ordered = ordered.masked_fill(beyond, -torch.inf)
    return torch.empty_like(scores).scatter_(-1, order, ordered)

"""How a code is chosen from its scores, by transformers' own rules, and one source a line."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from models.speech.qwen.settings import Choice


class Chooser:
    """Chooses codes."""

    def __init__(self, choice: Choice) -> None:
        self._sampled = choice.sampled
        self._warpers = [TemperatureLogitsWarper(float(choice.temperature))]
        if choice.top_k:
            self._warpers.append(TopKLogitsWarper(choice.top_k))
        if choice.top_p < 1:
            self._warpers.append(TopPLogitsWarper(choice.top_p))

    def __call__(self, scores: torch.Tensor, sources: Sequence[torch.Generator]) -> torch.Tensor:
        """Return a code for each row.

        A line's codes are those of its source, whichever lines are beside it.

        Args:
            scores: [rows, codes], float32.
            sources: of chance, one for each row.
        """
        if not self._sampled:
            return scores.argmax(-1)
        for warp in self._warpers:
            scores = warp(None, scores)
        shares = scores.softmax(-1)
        rows = zip(shares.split(1), sources, strict=True)
        return torch.cat([torch.multinomial(row, 1, generator=one)[0] for row, one in rows])


def penalised(scores: torch.Tensor, used: torch.Tensor, penalty: float) -> torch.Tensor:
    """Lower the scores of codes that a line has already; ``used``: [rows, codes] of bool."""
    lower = torch.where(scores < 0, scores * penalty, scores / penalty)
    return torch.where(used, lower, scores)

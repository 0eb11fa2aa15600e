"""BGE-M3's sparse vectors: how much each token of a text says about it.

Source of the formula: "BGE M3-Embedding" (Chen et al. 2024, arXiv 2402.03216), section 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def by_token(ids: Sequence[int], weights: Any, meaningless: Collection[int]) -> dict[int, float]:
    """The largest weight of each token id.

    Args:
        ids: a text's tokens.
        weights: of each of them, float32 of shape (tokens,); what is not above 0 says nothing.
        meaningless: special tokens, which are left out.
    """
    largest: dict[int, float] = {}
    for one, weight in zip(ids, weights.tolist(), strict=True):
        if weight > largest.get(one, 0.0) and one not in meaningless:
            largest[one] = weight
    return largest


def similarity(left: Mapping[int, float], right: Mapping[int, float]) -> float:
    """The sum over the common tokens of the products of their weights."""
    return sum(weight * right[token] for token, weight in left.items() if token in right)

"""BGE-M3's sparse vectors: a weight for each distinct token of a text.

Source of the formula: "BGE M3-Embedding" (Chen et al. 2024, arXiv 2402.03216), section 3.2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def by_token(ids: Sequence[int], weights: Any, meaningless: Collection[int]) -> dict[int, float]:
    """Return the largest weight of each token id.

    Args:
        ids: a text's tokens.
        weights: of each token, float32 of shape (tokens,); only weights above 0 count.
        meaningless: special tokens, which are left out.
    """
    largest: dict[int, float] = {}
    for token, weight in zip(ids, weights.tolist(), strict=True):
        if weight > largest.get(token, 0.0) and token not in meaningless:
            largest[token] = weight
    return largest


def similarity(left: Mapping[int, float], right: Mapping[int, float]) -> float:
    """Return the sum, over common tokens, of the products of their weights."""
    return sum(weight * right[token] for token, weight in left.items() if token in right)

"""Padding texts of several lengths to one rectangle of token ids, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from models.embeddings.inputs.texts import Tokens


def pad(parts: Sequence[Tokens], filler: int) -> tuple[Any, Any, Any]:
    """Return ids, mask and types, int64 of shape (parts, longest), padded on the right.

    Types are 0 for parts without types.
    """
    import numpy as np

    longest = max(map(len, parts))
    ids: Any = np.full((len(parts), longest), filler, np.int64)
    mask, types = np.zeros_like(ids), np.zeros_like(ids)
    for row, part in enumerate(parts):
        ids[row, : len(part)] = part.ids
        mask[row, : len(part)] = 1
        if part.types is not None:
            types[row, : len(part)] = part.types
    return ids, mask, types


def unpad(rectangle: Any, lengths: Sequence[int]) -> list[Any]:
    """Split an array of shape (parts, longest, …) into parts without padding."""
    return [row[:length] for row, length in zip(rectangle, lengths, strict=True)]

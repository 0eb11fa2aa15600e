"""On a CPU: the texts of a run one after another in a single row, and no padding between them.

Layers that look at one token at a time do not care whose it is. Attention is asked for each text by
itself, those of one length together; ``AttentionInterface`` of transformers is the place for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, BertModel, XLMRobertaModel

from models.embeddings.texts import Tokens
from models.rounding import rounded

_ATTENTION = "packed"
_KNOWN = (BertModel, XLMRobertaModel)  # they hand on what their attention is to be given

Groups = Sequence[tuple[int, int]]  # how many texts side by side, and how many tokens each has


class Packing:
    """Runs a sentence-transformers model on packed texts.

    Args:
        model: the model; from now on its attention understands packed texts only.
        filler: a token id to fill up with.
    """

    def __init__(self, model: Any, filler: int) -> None:
        self._transformer, *self._pooling = model
        self._filler = filler
        self._transformer.model.set_attn_implementation(_ATTENTION)
        self._padding = getattr(self._transformer.model.embeddings, "padding_idx", None)

    @staticmethod
    def suits(model: Any) -> bool:
        """Whether the model's architecture is one of those that are known to allow it."""
        inner: Any = getattr(model[0], "model", None)
        known = type(inner) in _KNOWN
        return known and not inner.config.is_decoder

    def run(self, parts: Sequence[Tokens]) -> tuple[Any, Any]:
        """Run the model once.

        Returns:
            The sentence embeddings, of shape (texts, width), and the last hidden states of all
            texts' tokens, of shape (tokens, width).
        """
        lengths = [len(part) for part in parts]
        groups = [(len(list(equal)), length) for length, equal in groupby(lengths)]
        sizes = [texts * length for texts, length in groups]
        total = sum(sizes)
        more = rounded(total) - total
        ids = np.fromiter((one for part in parts for one in part.ids), np.int64, total)
        features = {
            "input_ids": _row(ids, more, self._filler),
            "position_ids": _row(self._positions(ids, lengths), more, 0),
            "groups": [*groups, (1, more)] if more else groups,
        }
        hidden = self._transformer(features)["token_embeddings"][0, :total]
        pooled = [
            self._pooled(states.unflatten(0, group))
            for states, group in zip(hidden.split(sizes), groups, strict=True)
        ]
        return torch.cat(pooled), hidden

    def _pooled(self, states: torch.Tensor) -> torch.Tensor:
        """The sentence embeddings of texts of one length."""
        mask = torch.ones(states.shape[:2], dtype=torch.int64)
        features = {"token_embeddings": states, "attention_mask": mask}
        for module in self._pooling:
            features = module(features)
        return features["sentence_embedding"]

    def _positions(self, ids: Any, lengths: Sequence[int]) -> Any:
        """Each token's position in its text.

        RoBERTa's family counts from behind the padding's own position, which every padding token
        has, wherever it stands.
        """
        counts = np.ones_like(ids) if self._padding is None else (ids != self._padding).astype(int)
        counted = np.cumsum(counts)
        ends = np.cumsum(lengths)
        before = np.concatenate(([0], counted[ends[:-1] - 1]))
        first = -1 if self._padding is None else self._padding
        return (counted - np.repeat(before, lengths)) * counts + first


def _row(numbers: Any, more: int, filler: int) -> torch.Tensor:
    """A batch of one row, filled up."""
    return torch.from_numpy(np.pad(numbers, (0, more), constant_values=filler)).unsqueeze(0)


def _attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    groups: Groups,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention within each text.

    Args:
        module: the layer that asks; as the rest, given by transformers.
        query: of shape (1, heads, tokens, width of a head), as key and value.
        key: see there.
        value: see there.
        attention_mask: none; every token of a text sees all of it.
        groups: which tokens are one text's.
        scaling: of the products of queries and keys.

    Returns:
        Of shape (1, tokens, heads, width of a head), and no weights.
    """
    sizes = [texts * length for texts, length in groups]
    split = zip(*(one[0].split(sizes, dim=1) for one in (query, key, value)), strict=True)
    attended = []
    for group, tensors in zip(groups, split, strict=True):
        q, k, v = (one.unflatten(1, group).transpose(0, 1) for one in tensors)
        out = scaled_dot_product_attention(q, k, v, scale=scaling)  # (texts, heads, length, width)
        attended.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(attended).unsqueeze(0), None


AttentionInterface.register(_ATTENTION, _attend)

"""On a CPU: the texts of a run one after another in a single row, and no padding between them.

Layers that look at one token at a time do not care whose it is. Attention is asked for each text by
itself, those of one length together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import BertModel, XLMRobertaModel

from models.device.rounding import rounded
from models.embeddings.inputs.texts import Tokens

_KNOWN = (BertModel, XLMRobertaModel)  # ``embeddings``, then BERT's layers in ``encoder.layer``

Groups = Sequence[tuple[int, int]]  # how many texts side by side, and how many tokens each has


class Packing:
    """Runs a sentence-transformers model on packed texts.

    Args:
        model: the model; its layers are replaced, and from now on it runs here only.
        filler: a token id to fill up with.
    """

    def __init__(self, model: Any, filler: int) -> None:
        transformer, *self._pooling = model
        self._filler = filler
        self._embeddings = transformer.model.embeddings
        self._padding = getattr(self._embeddings, "padding_idx", None)
        self._layers = transformer.model.encoder.layer
        for index, layer in enumerate(self._layers):
            self._layers[index] = _Layer(layer)

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
        hidden = self._embeddings(
            input_ids=_row(ids, more, self._filler),
            position_ids=_row(self._positions(ids, lengths), more, 0),
        )[0]
        filled = [*groups, (1, more)] if more else groups
        for layer in self._layers:
            hidden = layer(hidden, filled)
        hidden = hidden[:total]
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


class _Layer(torch.nn.Module):  # type: ignore[misc]
    """One of BERT's layers over packed texts, made of its own parts.

    Its queries, keys and values are one multiplication, which reads the hidden states once.
    """

    def __init__(self, layer: Any) -> None:
        super().__init__()
        attention = layer.attention.self
        self.heads = attention.num_attention_heads
        self.inputs = _side_by_side(attention.query, attention.key, attention.value)
        self.attended = layer.attention.output
        self.intermediate = layer.intermediate
        self.output = layer.output

    def forward(self, hidden: torch.Tensor, groups: Groups) -> torch.Tensor:
        """Of shape (tokens, width), as ``hidden``; every token of a text sees all of it."""
        sizes = [texts * length for texts, length in groups]
        attended = []
        for group, states in zip(groups, self.inputs(hidden).split(sizes), strict=True):
            # (3, texts, heads, length, width of a head)
            q, k, v = states.view(*group, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            out = scaled_dot_product_attention(q, k, v)
            attended.append(out.transpose(1, 2).reshape(len(states), -1))
        hidden = self.attended(torch.cat(attended), hidden)
        return self.output(self.intermediate(hidden), hidden)


def _side_by_side(*layers: torch.nn.Linear) -> torch.nn.Linear:
    """One linear layer whose outputs are those of several."""
    weight = torch.cat([one.weight for one in layers])
    joined = torch.nn.Linear(weight.shape[1], weight.shape[0], device="meta")
    joined.weight = torch.nn.Parameter(weight, requires_grad=False)
    joined.bias = torch.nn.Parameter(torch.cat([one.bias for one in layers]), requires_grad=False)
    return joined


def _row(numbers: Any, more: int, filler: int) -> torch.Tensor:
    """A batch of one row, filled up."""
    return torch.from_numpy(np.pad(numbers, (0, more), constant_values=filler)).unsqueeze(0)

"""The forward pass of BERT and XLM-RoBERTa over packed texts, without padding.

All layers but attention treat each token by itself, so texts can be joined in one row. Devlin et
al., BERT (2019); names are those of the checkpoints. transformers would import about a thousand
modules for it; without them, a worker is ready seconds earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import embedding, layer_norm

from models.device.rounding import rounded
from models.embeddings.encoder import attention, checkpoint
from models.embeddings.encoder.checkpoint import Shape
from models.embeddings.encoder.onednn import linear
from models.embeddings.inputs.texts import Tokens

Linear = Callable[[torch.Tensor], torch.Tensor]


class Bert:
    """Runs packed texts.

    Attributes:
        width: of the hidden states.
        dtype: of the computation.
        weights_bytes: size of the weights.
        rounds: whether runs are filled up to a round size, because oneDNN sets itself up for each
            new size. Not on a GPU, where the filling would be the longest text of attention.
        head: the checkpoint's other weights, by name: of a classifier or a pooler.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], shape: Shape) -> None:
        self._shape = shape
        self._words = weights["embeddings.word_embeddings.weight"]
        self._positions_table = weights["embeddings.position_embeddings.weight"]
        self._types = weights["embeddings.token_type_embeddings.weight"]
        self._norm = _Norm(weights, "embeddings.LayerNorm", shape.epsilon)
        self._layers = _layers(weights, shape)
        self.width = self._words.shape[1]
        self.dtype = self._words.dtype
        self.weights_bytes = sum(tensor.nbytes for tensor in weights.values())
        self.rounds = self._words.device.type == "cpu"
        own = ("embeddings.", "encoder.")
        self.head = {name: value for name, value in weights.items() if not name.startswith(own)}

    @classmethod
    def load(cls, folder: Path, shape: Shape, device: str, dtype: torch.dtype) -> Bert:
        """Load a folder with this shape.

        Raises:
            KeyError: a tensor is missing.
        """
        return cls(checkpoint.weights(folder, device, dtype), shape)

    def run(self, parts: Sequence[Tokens]) -> torch.Tensor:
        """Return the last hidden states of all texts' tokens, shape (tokens, width)."""
        lengths = [len(part) for part in parts]
        total = sum(lengths)
        # The filling is a text of its own; see docs/decisions.md.
        more = rounded(total) - total if self.rounds else 0
        ids = np.fromiter((token for part in parts for token in part.ids), np.int64, total)
        positions = self._positions(ids, lengths)
        hidden = self._norm(
            embedding(self._row(ids, more), self._words)
            + embedding(self._row(self._kinds(parts, total), more), self._types)
            + embedding(self._row(positions, more), self._positions_table)
        )
        attend = attention.within([*lengths, more] if more else lengths, hidden.device)
        for layer in self._layers:
            hidden = layer(hidden, attend)
        return hidden[:total]

    def _row(self, numbers: Any, more: int) -> torch.Tensor:
        """Move numbers to the device, filled up with zeros, whose results are dropped."""
        return torch.from_numpy(np.pad(numbers, (0, more))).to(self._words.device)

    def _kinds(self, parts: Sequence[Tokens], total: int) -> Any:
        """Return the type of each token: 0 or 1 for the texts of a pair, 0 without types."""
        if len(self._types) == 1 or all(part.types is None for part in parts):
            return np.zeros(total, np.int64)
        kinds = (kind for part in parts for kind in (part.types or [0] * len(part)))
        return np.fromiter(kinds, np.int64, total)

    def _positions(self, ids: Any, lengths: Sequence[int]) -> Any:
        """Return each token's position in its text.

        RoBERTa's positions start after the padding token's id, and padding tokens all have that
        id as their position.
        """
        padding = self._shape.padding
        counts = np.ones_like(ids) if padding is None else (ids != padding).astype(int)
        counted = np.cumsum(counts)
        ends = np.cumsum(lengths)
        before = np.concatenate(([0], counted[ends[:-1] - 1]))
        first = -1 if padding is None else padding
        return (counted - np.repeat(before, lengths)) * counts + first


class _Layer:
    """Attention and a feed-forward network, each with a residual connection and a norm.

    Queries, keys and values are one multiplication, which reads the hidden states once.
    """

    def __init__(self, weights: Mapping[str, torch.Tensor], prefix: str, shape: Shape) -> None:
        inputs = [f"{prefix}.attention.self.{name}" for name in ("query", "key", "value")]
        weight, bias = (
            torch.cat([weights[f"{name}.{kind}"] for name in inputs]) for kind in ("weight", "bias")
        )
        self._inputs = linear(weight, bias)
        self._heads = shape.heads
        self._attended = linear_of(weights, f"{prefix}.attention.output.dense")
        self._attended_norm = _Norm(weights, f"{prefix}.attention.output.LayerNorm", shape.epsilon)
        self._wide = linear_of(weights, f"{prefix}.intermediate.dense", gelu=True)
        self._narrow = linear_of(weights, f"{prefix}.output.dense")
        self._norm = _Norm(weights, f"{prefix}.output.LayerNorm", shape.epsilon)

    def __call__(self, hidden: torch.Tensor, attend: attention.Attend) -> torch.Tensor:
        """Run the layer; returns the shape of ``hidden``, (tokens, width)."""
        qkv = self._inputs(hidden).unflatten(-1, (3, self._heads, -1))
        hidden = self._attended_norm(self._attended(attend(qkv)) + hidden)
        return self._norm(self._narrow(self._wide(hidden)) + hidden)


class _Norm:
    def __init__(self, weights: Mapping[str, torch.Tensor], prefix: str, epsilon: float) -> None:
        self._weight, self._bias = weights[f"{prefix}.weight"], weights[f"{prefix}.bias"]
        self._epsilon = epsilon

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return layer_norm(x, self._weight.shape, self._weight, self._bias, self._epsilon)


def _layers(weights: Mapping[str, torch.Tensor], shape: Shape) -> list[_Layer]:
    layers: list[_Layer] = []
    while f"{(prefix := f'encoder.layer.{len(layers)}')}.output.dense.weight" in weights:
        layers.append(_Layer(weights, prefix, shape))
    return layers


def linear_of(weights: Mapping[str, torch.Tensor], prefix: str, *, gelu: bool = False) -> Linear:
    """Return a checkpoint's linear layer by its name."""
    return linear(weights[f"{prefix}.weight"], weights[f"{prefix}.bias"], gelu=gelu)

"""On a CPU: the texts of a run one after another in a single row, and no padding between them.

Layers that look at one token at a time do not care whose it is. Attention is asked for each text by
itself, those of one length together; ``AttentionInterface`` of transformers is the place for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from models.embeddings.texts import Tokens
from models.rounding import rounded

_ATTENTION = "packed"
_KNOWN = ("bert", "xlm-roberta")  # they take positions, and hand on what their attention is given

Groups = Sequence[tuple[int, int]]  # how many texts, and how many tokens each of them has


class Packing:
    """Runs the transformer of a sentence-transformers model on packed texts.

    Args:
        model: the model; from now on its attention understands packed texts only.
        filler: a token id to fill up with.
    """

    def __init__(self, model: Any, filler: int) -> None:
        self._transformer, *_ = model
        self._filler = filler
        inner = self._transformer.model
        inner.set_attn_implementation(_ATTENTION)
        # Models of RoBERTa's family count positions from behind that of the padding.
        padding = getattr(inner.embeddings, "padding_idx", None)
        self._first = 0 if padding is None else padding + 1

    @staticmethod
    def suits(model: Any) -> bool:
        """Whether the model is on a CPU, and of an architecture that is known to allow it."""
        inner = getattr(model[0], "model", None)
        known = getattr(getattr(inner, "config", None), "model_type", None) in _KNOWN
        return known and model.device.type == "cpu"

    def hidden(self, parts: Sequence[Tokens]) -> Any:
        """The last hidden states, of shape (texts, longest, width); zeros after a text's end."""
        lengths = [len(part) for part in parts]
        groups = [(len(list(equal)), length) for length, equal in groupby(lengths)]
        total = sum(lengths)
        if more := rounded(total) - total:
            groups.append((1, more))
        positions = chain.from_iterable(range(length) for length in lengths)
        features = {
            "input_ids": self._row(chain.from_iterable(part.ids for part in parts), more),
            "position_ids": self._row(positions, more, 0) + self._first,
            "groups": groups,
        }
        hidden = self._transformer(features)["token_embeddings"][0, :total]
        return torch.nn.utils.rnn.pad_sequence(hidden.split(lengths), batch_first=True)

    def _row(self, numbers: Any, more: int, filler: int | None = None) -> Any:
        filled = chain(numbers, [self._filler if filler is None else filler] * more)
        return torch.tensor(list(filled)).unsqueeze(0)


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
    for shape, group in zip(groups, split, strict=True):
        q, k, v = (one.unflatten(1, shape).transpose(0, 1) for one in group)
        out = scaled_dot_product_attention(q, k, v, scale=scaling)  # (texts, heads, length, width)
        attended.append(out.transpose(1, 2).flatten(0, 1))
    return torch.cat(attended).unsqueeze(0), None


AttentionInterface.register(_ATTENTION, _attend)

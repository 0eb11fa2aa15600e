"""Sentence embeddings and scores from our BERT's hidden states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from models.embeddings.encoder import checkpoint
from models.embeddings.encoder.bert import Bert, linear_of
from models.embeddings.encoder.checkpoint import Shape
from models.embeddings.inputs.texts import Tokens

_HEADS = (("classifier.dense", "classifier.out_proj"), ("pooler.dense", "classifier"))
"""Names of a classifier's two layers, with a tanh between: RoBERTa's, and BERT's."""


class BertEncoder:
    """A sentence-transformers folder of a BERT that ``checkpoint`` supports.

    Attributes:
        tokenizer: of the ``tokenizers`` package.
        longest: limit of tokens in a text.
    """

    packs = True

    def __init__(self, bert: Bert, pooling: str, tokenizer: Tokenizer, longest: int) -> None:
        self.bert = bert
        self.tokenizer = tokenizer
        self.longest = longest
        self.width = bert.width
        self.weights_bytes = bert.weights_bytes
        self.rounds = bert.rounds
        self._pooling = pooling

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> BertEncoder | None:
        """Load the folder; None if it is not supported."""
        shape, pooling = Shape.of(folder), checkpoint.pooling(folder)
        if shape is None or pooling is None:
            return None
        bert = Bert.load(folder, shape, device, dtype)
        return cls(bert, pooling, _tokenizer(folder), checkpoint.longest(folder, shape))

    def run(self, parts: Sequence[Tokens]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return sentence embeddings, shape (texts, width), and all hidden states in one row."""
        hidden = self.bert.run(parts)
        if self._pooling == "cls":
            return hidden[_firsts(parts, hidden)], hidden
        lengths = torch.tensor([len(part) for part in parts], device=hidden.device)
        return torch.segment_reduce(hidden.float(), "mean", lengths=lengths), hidden


class BertClassifier:
    """A transformers classifier with one score on a BERT; attributes as of ``BertEncoder``."""

    packs = True

    def __init__(self, bert: Bert, head: Mapping[str, torch.Tensor], tokenizer: Tokenizer) -> None:
        self.bert = bert
        self.tokenizer = tokenizer
        self.weights_bytes = bert.weights_bytes
        self.rounds = bert.rounds
        self._inner, self._outer = next(
            (linear_of(head, inner), linear_of(head, outer))
            for inner, outer in _HEADS
            if f"{inner}.weight" in head
        )

    @classmethod
    def load(cls, folder: Path, device: str, dtype: torch.dtype) -> BertClassifier | None:
        """Load the folder; None if it is not supported."""
        shape = Shape.of(folder)
        if shape is None:
            return None
        bert = Bert.load(folder, shape, device, dtype)
        if not any(f"{inner}.weight" in bert.head for inner, _ in _HEADS):
            return None
        return cls(bert, bert.head, _tokenizer(folder))

    def run(self, parts: Sequence[Tokens]) -> torch.Tensor:
        """Return scores before the sigmoid, shape (texts,)."""
        hidden = self.bert.run(parts)
        first = hidden[_firsts(parts, hidden)]
        return self._outer(torch.tanh(self._inner(first)))[:, 0]


def _firsts(parts: Sequence[Tokens], hidden: torch.Tensor) -> torch.Tensor:
    """Return the index of each text's first token."""
    lengths = torch.tensor([0, *(len(part) for part in parts[:-1])])
    return lengths.cumsum(0).to(hidden.device)


def _tokenizer(folder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(folder / "tokenizer.json"))

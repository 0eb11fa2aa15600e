"""Rerankers that read the query and a document together."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any, Protocol, Self

from models.device.budget import measure
from models.device.hardware import Device
from models.embeddings.engine import USUAL_TOKENS, not_finite
from models.embeddings.inputs.pairs import Pairs
from models.embeddings.inputs.texts import Read, Texts, Tokens
from models.embeddings.request import Ranked, RankRequest
from models.engine import BatchEngine
from models.row import Row
from models.stages import stage
from models.work import Ticket, Work

_USUAL_PAIRS = 8  # in a request, for the capacity


class Pairing(Protocol):
    """Turns a query and documents into tokens, a part for each document."""

    def read(self, query: str, documents: Sequence[str], *, truncate: bool = False) -> Read:
        """Tokenise the pairs of a query with each document; a cut shortens the document."""


class CrossEncoder(BatchEngine):
    """A classifier with a single output; each pair of query and document is a part.

    The score is the sigmoid of the output, from 0 to 1.
    """

    libraries = ("torch", "transformers", "tokenizers")

    def __init__(self, classifier: Any, texts: Texts, row: Row) -> None:
        self._classifier = classifier
        self.packs, self.rounds = classifier.packs, classifier.rounds
        self._pairs: Pairing = Pairs(texts)
        self.texts = texts
        self.row = row

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Load the folder in the device's dtype, and measure the budget."""
        import torch

        classifier = cls._classifier_of(folder, device, getattr(torch, device.dtype))
        texts = Texts(classifier.tokenizer, row.options["max_tokens"], row)
        engine = cls(classifier, texts, row)
        engine.express = device.kind == "cpu"

        def probe(tokens: int) -> None:
            engine.forward(engine.texts.filler(tokens))

        with stage("warm"):
            engine.budget = measure(probe, row.memory_bytes - classifier.weights_bytes)
        engine.capacity = max(1, engine.budget // (_USUAL_PAIRS * USUAL_TOKENS))
        return engine

    def prepare(self, request: RankRequest) -> Work:
        """Tokenise the pairs.

        Raises:
            ContextLengthExceeded: a pair exceeds the model's limit.
        """
        read = self._pairs.read(request.query, request.documents, truncate=request.truncate)

        def finish(scores: Sequence[float]) -> Ranked:
            return Ranked(tuple(scores), sum(read.sizes), read.cut)

        return Work(read.tokens, read.sizes, "pair", finish)

    def run(self, batch: Sequence[Ticket[Tokens]]) -> list[Any]:
        """Score pairs."""
        scores = self.forward([ticket.item for ticket in batch]).tolist()
        return [score if isfinite(score) else not_finite(self.row) for score in scores]

    def forward(self, parts: Sequence[Tokens]) -> Any:
        """Return the scores of pairs, float32 of shape (pairs,)."""
        import torch

        with torch.inference_mode():
            return torch.sigmoid(self._classifier.run(parts).float()).cpu().numpy()

    def close(self) -> None:
        """Drop the model."""
        self._classifier = None

    @classmethod
    def _classifier_of(cls, folder: Path, device: Device, dtype: Any) -> Any:
        """Load our own BERT if it supports the folder: importing the library takes seconds."""
        from models.embeddings.encoder.heads import BertClassifier

        ours = BertClassifier.load(folder, device.kind, dtype)
        if ours is not None:
            return ours
        from models.embeddings.encoder.library import LibraryClassifier

        return LibraryClassifier.load(folder, device.kind, dtype)

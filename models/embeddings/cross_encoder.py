"""Rerankers that read the query and a document at once."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from models.device.budget import measure
from models.device.hardware import Device
from models.embeddings.engine import USUAL_TOKENS, not_finite
from models.embeddings.inputs.padding import pad
from models.embeddings.inputs.pairs import Pairs
from models.embeddings.inputs.texts import Texts, Tokens
from models.embeddings.request import Ranked, RankRequest
from models.quiet import hush
from models.row import Row
from models.surface import Ticket, Work

_USUAL_PAIRS = 8  # of a request


class CrossEncoder:
    """A transformers model with one score; a pair of query and document is a part.

    Its score is the sigmoid of the model's only output, from 0 to 1.
    """

    packs = False

    def __init__(self, model: Any, texts: Texts, row: Row) -> None:
        self._model = model
        self._reads_types = getattr(model.config, "type_vocab_size", 1) > 1
        self._pairs = Pairs(texts)
        self.texts = texts
        self.row = row
        self.budget: int | None = None

    @property
    def capacity(self) -> int:
        """Requests of a few pairs that a run holds."""
        return max(1, (self.budget or 0) // (_USUAL_PAIRS * USUAL_TOKENS))

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> CrossEncoder:
        """Load the folder, in the device's own precision, and measure the budget."""
        import torch
        from tokenizers import Tokenizer
        from transformers import AutoModelForSequenceClassification

        from models.embeddings.cpu.onednn import rewire

        hush("transformers")
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, dtype=getattr(torch, device.dtype), local_files_only=True
        )
        model = model.to(device.kind).eval()
        weights_bytes = sum(one.nbytes for one in model.parameters())
        rewire(model)
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        texts = Texts(tokenizer, row.options["max_tokens"], row)
        engine = cls(model, texts, row)

        def probe(tokens: int) -> None:
            engine.forward(*pad(engine.texts.filler(tokens), engine.texts.pad))

        engine.budget = measure(probe, row.memory_bytes - weights_bytes)
        return engine

    def prepare(self, request: RankRequest) -> Work:
        """Tokenise the pairs.

        Raises:
            ContextLengthExceeded: a pair is longer than the model reads.
        """
        read = self._pairs.read(request.query, request.documents, truncate=request.truncate)

        def finish(scores: Sequence[float]) -> Ranked:
            return Ranked(tuple(scores), sum(read.sizes), read.cut)

        return Work(read.tokens, read.sizes, "pair", finish)

    def run(self, batch: Sequence[Ticket[Tokens]]) -> list[Any]:
        """Score pairs."""
        ids, mask, types = pad([ticket.item for ticket in batch], self.texts.pad)
        scores = self.forward(ids, mask, types).tolist()
        return [one if isfinite(one) else not_finite(self.row) for one in scores]

    def forward(self, ids: Any, mask: Any, types: Any) -> Any:
        """Scores, float32 of shape (pairs,), of int64 arrays of shape (pairs, length)."""
        import torch

        inputs = {"input_ids": ids, "attention_mask": mask}
        if self._reads_types:
            inputs["token_type_ids"] = types
        with torch.inference_mode():
            device = self._model.device
            tensors = {name: torch.from_numpy(one).to(device) for name, one in inputs.items()}
            logits = self._model(**tensors).logits
            return torch.sigmoid(logits[:, 0].float()).cpu().numpy()

    def close(self) -> None:
        """Drop the model."""
        self._model = None

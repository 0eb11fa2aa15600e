"""Embeddings with sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ContextLengthExceeded, UnsupportedParameter, shorten
from models.hardware import Device
from models.quiet import hush
from models.row import Row
from models.surface import Ticket
from models.tokens import TokenCounter

_SLICE_TEXTS = 32  # the library's own batch size; a cancelled job stops after this many texts
_RUN_TOKENS = 65_536  # beyond this, a run of many jobs only delays the first ones in it


@dataclass(frozen=True)
class EmbedRequest:
    """Texts to embed; ``dimensions`` shortens the vectors of models trained for it."""

    texts: tuple[str, ...]
    dimensions: int | None = None


@dataclass(frozen=True)
class EmbedItem:
    """Checked texts, the number of tokens in all of them, and the length to cut vectors to."""

    texts: tuple[str, ...]
    tokens: int
    dimensions: int | None


@dataclass(frozen=True)
class Embedded:
    """Unit vectors, float32 of shape (texts, width), and the tokens they were made from."""

    vectors: Any
    tokens: int


class SentenceEmbeddings:
    """A sentence-transformers model; row options: ``dimensions`` (lengths it was trained for)."""

    finish = None

    def __init__(self, model: Any, row: Row) -> None:
        self._model = model
        self._row = row
        self._count = TokenCounter(model.tokenizer)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> SentenceEmbeddings:
        """Load the folder; bfloat16 on a GPU that has it, float32 on a CPU."""
        import torch
        from sentence_transformers import SentenceTransformer

        hush("transformers")
        half = torch.bfloat16 if device.bf16 else torch.float16
        dtype = half if device.kind == "cuda" else torch.float32
        model = SentenceTransformer(
            str(folder), device=device.kind, local_files_only=True, model_kwargs={"dtype": dtype}
        )
        return cls(model.eval(), row)

    def prepare(self, request: EmbedRequest) -> EmbedItem:
        """Count tokens.

        Raises:
            ContextLengthExceeded: a text is longer than the model reads; nothing is cut in silence.
            UnsupportedParameter: ``dimensions`` on a model that was not trained for it.
        """
        self._check_dimensions(request.dimensions)
        limit = self._model.max_seq_length
        lengths = self._count(request.texts)
        for index, length in enumerate(lengths):
            if length > limit:
                param = "input" if len(lengths) == 1 else f"input[{index}]"
                raise ContextLengthExceeded(
                    f"{param} has {length} tokens; {self._row.slug} reads at most {limit}.",
                    param=param,
                )
        return EmbedItem(request.texts, sum(lengths), request.dimensions)

    def mixes(self, batch: Sequence[EmbedItem], other: EmbedItem) -> bool:
        """Jobs share a run up to a bound on its length."""
        return sum(item.tokens for item in batch) + other.tokens <= _RUN_TOKENS

    def run(self, batch: Sequence[Ticket[EmbedItem]]) -> list[Embedded | None]:
        """Encode the texts of all jobs together, the longest first, a few at a time.

        Neighbours in length share a slice, so that little is padded. Between slices the texts of
        jobs that were cancelled are dropped; such a job's output is None.
        """
        import numpy as np

        vectors: list[list[Any]] = [[None] * len(ticket.item.texts) for ticket in batch]
        texts = [
            (text, ticket, vectors[job], index)
            for job, ticket in enumerate(batch)
            for index, text in enumerate(ticket.item.texts)
        ]
        texts.sort(key=lambda one: len(one[0]), reverse=True)
        while texts := [one for one in texts if not one[1].cancelled]:
            part, texts = texts[:_SLICE_TEXTS], texts[_SLICE_TEXTS:]
            for (_, _, row, index), vector in zip(part, self._encode(part), strict=True):
                row[index] = vector
        return [
            None
            if ticket.cancelled
            else Embedded(_shorten(np.stack(row), ticket.item.dimensions), ticket.item.tokens)
            for ticket, row in zip(batch, vectors, strict=True)
        ]

    def _encode(self, part: Sequence[tuple[str, Any, Any, int]]) -> Any:
        return self._model.encode(
            [text for text, *_ in part],
            batch_size=_SLICE_TEXTS,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        ).astype("float32", copy=False)

    def close(self) -> None:
        """Drop the model."""
        self._model = None

    def _check_dimensions(self, wanted: int | None) -> None:
        width = self._model.get_embedding_dimension()
        trained = (*self._row.options.get("dimensions", ()), width)
        if wanted is None or wanted in trained:
            return
        raise UnsupportedParameter(
            f"{self._row.slug} gives vectors of {' or '.join(map(str, trained))} dimensions and "
            f"was not trained for others; got {shorten(str(wanted))}.",
            param="dimensions",
        )


def _shorten(vectors: Any, dimensions: int | None) -> Any:
    """Cut unit vectors to their first numbers and make them unit vectors again."""
    import numpy as np

    if dimensions is None or dimensions == vectors.shape[1]:
        return vectors
    cut = vectors[:, :dimensions]
    return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)

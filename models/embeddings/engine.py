"""A request's life in an embeddings engine, whatever its backend."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, cast

from models.device.budget import measure
from models.device.hardware import Device
from models.embeddings.inputs.texts import Read, Texts, Tokens
from models.embeddings.lexical import by_token
from models.embeddings.ranking import score
from models.embeddings.request import (
    COLBERT,
    DENSE,
    SPARSE,
    Embedded,
    EmbedRequest,
    Ranked,
    RankRequest,
    Vectors,
)
from models.errors import EngineFailed, InvalidValue, UnsupportedParameter, shorten
from models.row import Row
from models.stages import stage
from models.surface import Ticket, Work

log = logging.getLogger(__name__)

USUAL_TOKENS = 128  # of a request: a paragraph
_ANSWERED_BYTES = 64_000_000  # of ColBERT vectors in one answer: twice what any platform delivers
_RANKED_BYTES = 512_000_000  # of those that a ranking holds until it has them all

Arrays = Mapping[str, Sequence[Any]]  # an array for each text, by kind of vector


class Embeddings(ABC):
    """Vectors of texts; a text is a part, its tokens are its size.

    Row options: ``dimensions`` (lengths that the model was trained to be cut to), ``prefixes``
    (what stands before a text, by input type), ``max_tokens`` (a limit below the model's own).

    Attributes:
        kinds: which vectors it makes.
        width: the length of its dense vectors.
        budget: the tokens of a run, padding included, measured.
        packs: whether its runs have no padding.
    """

    kinds: frozenset[str]
    width: int
    budget: int | None = None
    packs: bool = False

    def __init__(self, texts: Texts, row: Row) -> None:
        self.texts = texts
        self.row = row

    @property
    def capacity(self) -> int:
        """Requests of one paragraph that a run holds."""
        return max(1, (self.budget or 0) // USUAL_TOKENS)

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Load the folder."""

    @abstractmethod
    def forward(self, parts: Sequence[Tokens], kinds: frozenset[str]) -> Arrays:
        """Run the model once.

        Args:
            parts: the texts; it is fastest with those of one length side by side.
            kinds: what to return.

        Returns:
            An array for each text, by kind: ``dense``, a unit vector, float32 of shape (width,);
            ``sparse``, weights of all its tokens, float32 of shape (tokens,); ``colbert``, unit
            vectors of all its tokens but the first, float16 of shape (tokens - 1, width).
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the model."""

    def prepare(self, request: EmbedRequest | RankRequest) -> Work:
        """Tokenise.

        Raises:
            ContextLengthExceeded: a text is longer than the model reads.
            UnsupportedParameter: something that this model does not do; see ``EmbedRequest``.
            InvalidValue: a token id that is in no vocabulary.
        """
        if isinstance(request, RankRequest):
            return self._ranking(request)
        return self._embedding(request)

    def run(self, batch: Sequence[Ticket[Tokens]]) -> list[Any]:
        """Embed texts; all of them ask for the same kinds of vectors."""
        import numpy as np

        parts = [ticket.item for ticket in batch]
        out = self.forward(parts, cast("frozenset[str]", batch[0].kind))
        # Copies: a view would keep the memory of everybody's as long as one request waits.
        by_text = [
            {kind: found[row].copy() for kind, found in out.items()} for row in range(len(parts))
        ]
        return [
            self._vectors(part, arrays)
            if all(np.isfinite(one).all() for one in arrays.values())
            else not_finite(self.row)
            for part, arrays in zip(parts, by_text, strict=True)
        ]

    def measure_budget(self, weights_bytes: int = 0) -> None:
        """Find how many tokens a run should have on this device.

        Args:
            weights_bytes: what of the row's memory is no working space.
        """

        def probe(tokens: int) -> None:
            self.forward(self.texts.filler(tokens), frozenset({DENSE}))

        with stage("warm"):
            self.budget = measure(probe, self.row.memory_bytes - weights_bytes)
        log.info("%s: a run holds %d tokens", self.row.slug, self.budget)

    def _embedding(self, request: EmbedRequest) -> Work:
        self._check_dimensions(request.dimensions)
        self._check_kinds(request.kinds)
        read = self.texts.read(
            request.inputs,
            lambda index: "input" if request.single else f"input[{index}]",
            input_type=request.input_type,
            truncate=request.truncate,
            token_encoding=request.token_encoding,
        )
        self._check_matrices(read, request.kinds, "inputs", _ANSWERED_BYTES)

        def finish(vectors: Sequence[Vectors]) -> Embedded:
            cut = tuple(_shortened(one, request.dimensions) for one in vectors)
            return Embedded(cut, sum(read.sizes), read.cut, read.token_encoding)

        return Work(read.tokens, read.sizes, request.kinds, finish)

    def _ranking(self, request: RankRequest) -> Work:
        query = self.texts.read_query(request.query)
        documents = self.texts.read(
            request.documents,
            lambda index: f"documents[{index}]",
            input_type="passage",
            truncate=request.truncate,
        )
        self._check_matrices(documents, self.kinds, "documents", _RANKED_BYTES)

        def finish(vectors: Sequence[Vectors]) -> Ranked:
            first, *others = vectors
            scores = tuple(score(first, one) for one in others)
            return Ranked(scores, sum(query.sizes) + sum(documents.sizes), documents.cut)

        parts = (*query.tokens, *documents.tokens)
        return Work(parts, (*query.sizes, *documents.sizes), self.kinds, finish, beside=True)

    def _vectors(self, part: Tokens, arrays: Mapping[str, Any]) -> Vectors:
        sparse = None
        if SPARSE in arrays:
            sparse = by_token(part.ids, arrays[SPARSE], self.texts.meaningless)
        return Vectors(arrays[DENSE], sparse, arrays.get(COLBERT))

    def _check_kinds(self, wanted: frozenset[str]) -> None:
        if missing := wanted - self.kinds:
            raise UnsupportedParameter(
                f"{self.row.slug} gives {' and '.join(sorted(self.kinds))} vectors only, and not "
                f"{' or '.join(sorted(missing))}.",
                param="embedding_types",
            )

    def _check_matrices(
        self, read: Read, kinds: frozenset[str], what: str, limit_bytes: int
    ) -> None:
        """Refuse ColBERT vectors that would fill the memory before they are answered."""
        size_bytes = 2 * self.width * sum(read.sizes)
        if COLBERT in kinds and size_bytes > limit_bytes:
            raise InvalidValue(
                f"The ColBERT vectors of these {len(read.tokens)} {what} would have {size_bytes} "
                f"bytes; at most {limit_bytes} are made at once. Send fewer at once.",
                param="input" if what == "inputs" else what,
            )

    def _check_dimensions(self, wanted: int | None) -> None:
        trained = (*self.row.options.get("dimensions", ()), self.width)
        if wanted is None or wanted in trained:
            return
        raise UnsupportedParameter(
            f"{self.row.slug} gives vectors of {' or '.join(map(str, trained))} dimensions and "
            f"was not trained for others; got {shorten(str(wanted))}.",
            param="dimensions",
        )


def _shortened(vectors: Vectors, dimensions: int | None) -> Vectors:
    """Cut the dense vector to its first numbers and make it a unit vector again."""
    if dimensions is None or dimensions == len(vectors.dense):
        return vectors
    import numpy as np

    cut = vectors.dense[:dimensions]
    return replace(vectors, dense=cut / max(float(np.linalg.norm(cut)), 1e-12))


def not_finite(row: Row) -> EngineFailed:
    """What a text gets for which the arithmetic broke down."""
    return EngineFailed(f"{row.slug} gave no finite number for this input.")

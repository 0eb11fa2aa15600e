"""What the backends for vectors share: preparing, running and finishing a request."""

from __future__ import annotations

import logging
from abc import abstractmethod
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
from models.engine import BatchEngine
from models.errors import EngineFailed, InvalidValue, UnsupportedParameter, shorten
from models.row import Row
from models.stages import stage
from models.work import Ticket, Work

log = logging.getLogger(__name__)

USUAL_TOKENS = 128  # in a request, for the capacity: a paragraph
_ANSWERED_BYTES = 64_000_000  # of ColBERT vectors in an answer: twice what any platform delivers
_RANKED_BYTES = 512_000_000  # of ColBERT vectors that a ranking holds

Arrays = Mapping[str, Sequence[Any]]  # by kind of vector, an array for each text


class Embeddings(BatchEngine):
    """An engine for vectors of texts; each text is a part, whose size is its number of tokens.

    Row options: ``dimensions`` (lengths to which the model was trained to be shortened),
    ``prefixes`` (texts put before an input, by input type), ``max_tokens`` (a limit below the
    model's own).

    Attributes:
        kinds: of vectors that the model makes.
        width: length of its dense vectors.
        budget: measured number of tokens in a run, including padding.
        packs: whether runs have no padding.
    """

    kinds: frozenset[str]
    width: int

    def __init__(self, texts: Texts, row: Row) -> None:
        self.texts = texts
        self.row = row

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Load the folder."""

    @abstractmethod
    def forward(self, parts: Sequence[Tokens], kinds: frozenset[str]) -> Arrays:
        """Run the model once.

        Args:
            parts: the texts; fastest with texts of equal length next to each other.
            kinds: of vectors to return.

        Returns:
            An array for each text, by kind: ``dense``, a unit vector, float32 of shape (width,);
            ``sparse``, weights of all its tokens, float32 of shape (tokens,); ``colbert``, unit
            vectors of all its tokens but the first, float16 of shape (tokens - 1, width).
        """

    @abstractmethod
    def close(self) -> None:
        """Drop the model."""

    def prepare(self, request: EmbedRequest | RankRequest) -> Work:
        """Tokenise the texts.

        Raises:
            ContextLengthExceeded: a text exceeds the model's limit.
            UnsupportedParameter: the model does not support a field; see ``EmbedRequest``.
            InvalidValue: a token id is outside the vocabulary, or the answer would be too large.
        """
        if isinstance(request, RankRequest):
            return self._ranking(request)
        return self._embedding(request)

    def run(self, batch: Sequence[Ticket[Tokens]]) -> list[Any]:
        """Embed texts; all parts of a batch request the same kinds of vectors."""
        import numpy as np

        parts = [ticket.item for ticket in batch]
        out = self.forward(parts, cast("frozenset[str]", batch[0].kind))
        # Copies: a view would keep the whole batch in memory while one request waits.
        by_text = [
            {kind: values[row].copy() for kind, values in out.items()} for row in range(len(parts))
        ]
        return [
            self._vectors(part, arrays)
            if all(np.isfinite(values).all() for values in arrays.values())
            else not_finite(self.row)
            for part, arrays in zip(parts, by_text, strict=True)
        ]

    def measure_budget(self, weights_bytes: int = 0) -> None:
        """Measure how many tokens a run should have on this device.

        Args:
            weights_bytes: the part of the row's memory that is not working space.
        """

        def probe(tokens: int) -> None:
            self.forward(self.texts.filler(tokens), frozenset({DENSE}))

        with stage("warm"):
            self.budget = measure(probe, self.row.memory_bytes - weights_bytes)
        self.capacity = max(1, self.budget // USUAL_TOKENS)
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
            shortened = tuple(_shortened(each, request.dimensions) for each in vectors)
            return Embedded(shortened, sum(read.sizes), read.cut, read.token_encoding)

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
            scores = tuple(score(first, document) for document in others)
            return Ranked(scores, sum(query.sizes) + sum(documents.sizes), documents.cut)

        parts = (*query.tokens, *documents.tokens)
        return Work(parts, (*query.sizes, *documents.sizes), self.kinds, finish, in_thread=True)

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
        """Check that ColBERT vectors fit the memory until they are answered."""
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
    """Truncate the dense vector and normalise it again."""
    if dimensions is None or dimensions == len(vectors.dense):
        return vectors
    import numpy as np

    cut = vectors.dense[:dimensions]
    return replace(vectors, dense=cut / max(float(np.linalg.norm(cut)), 1e-12))


def not_finite(row: Row) -> EngineFailed:
    """Return the error for a text whose vectors or score are not finite."""
    return EngineFailed(f"{row.slug} gave no finite number for this input.")

"""What is asked of embeddings, and what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DENSE, SPARSE, COLBERT = "dense", "sparse", "colbert"
AUTO, MODEL, CL100K = "auto", "model", "cl100k_base"  # whose token ids

Input = str | tuple[int, ...]  # a text, or token ids


@dataclass(frozen=True)
class EmbedRequest:
    """Texts to embed.

    Attributes:
        inputs: texts, or their token ids.
        kinds: which vectors of each: dense, sparse, colbert.
        dimensions: shortens the dense vectors of models trained for it.
        input_type: ``query`` or ``passage``, for models that are told by a prefix; None = neither.
        truncate: cut inputs that are too long, where the default is to refuse them.
        token_encoding: whose ids token ids are; see ``models.embeddings.inputs.token_ids``.
        single: whether the client sent one input rather than a list of one, for errors.
    """

    inputs: tuple[Input, ...]
    kinds: frozenset[str] = frozenset({DENSE})
    dimensions: int | None = None
    input_type: str | None = None
    truncate: bool = False
    token_encoding: str = AUTO
    single: bool = False


@dataclass(frozen=True)
class Vectors:
    """One input's vectors.

    Attributes:
        dense: unit vector, float32 of shape (width,).
        sparse: weight by token id, float32 and above 0; None where it was not asked for.
        colbert: a unit vector for each token but the first, float16 of shape (tokens - 1, width);
            None where it was not asked for.
    """

    dense: Any
    sparse: Mapping[int, float] | None = None
    colbert: Any = None


@dataclass(frozen=True)
class Cut:
    """An input that was cut to the model's limit.

    Attributes:
        index: its place.
        tokens: how many it has, special ones included.
        at_least: whether it has more, which were not counted.
    """

    index: int
    tokens: int
    at_least: bool = False


@dataclass(frozen=True)
class Embedded:
    """The vectors of each input.

    Attributes:
        vectors: in the order of the inputs.
        tokens: how many the model read, special ones included.
        cut: inputs that were cut.
        token_encoding: as which ids the token ids were read; None when all were texts.
    """

    vectors: tuple[Vectors, ...]
    tokens: int
    cut: tuple[Cut, ...] = ()
    token_encoding: str | None = None


@dataclass(frozen=True)
class RankRequest:
    """Documents to rank for a query; ``truncate`` cuts documents that are too long."""

    query: str
    documents: tuple[str, ...]
    truncate: bool = False


@dataclass(frozen=True)
class Ranked:
    """A score of each document, in their order, higher is nearer; tokens and cuts as above."""

    scores: tuple[float, ...]
    tokens: int
    cut: tuple[Cut, ...] = ()

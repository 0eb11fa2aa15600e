"""Requests for embeddings and rankings, and their answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

DENSE, SPARSE, COLBERT = "dense", "sparse", "colbert"
AUTO, MODEL, CL100K = "auto", "model", "cl100k_base"  # vocabularies of token ids

Input = str | tuple[int, ...]  # a text, or token ids


@dataclass(frozen=True)
class EmbedRequest:
    """Texts to embed.

    Attributes:
        inputs: texts, or their token ids.
        kinds: of vectors: dense, sparse, colbert.
        dimensions: length of the dense vectors, for models trained to be shortened.
        input_type: ``query`` or ``passage``, for models that use prefixes; None = neither.
        truncate: whether inputs that are too long are cut; otherwise they are refused.
        token_encoding: vocabulary of token ids; see ``models.embeddings.inputs.token_ids``.
        single: whether the client sent a single input instead of a list, for errors.
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
    """The vectors of one input.

    Attributes:
        dense: unit vector, float32 of shape (width,).
        sparse: weight by token id, float32 and above 0; None if not requested.
        colbert: a unit vector for each token but the first, float16 of shape (tokens - 1, width);
            None if not requested.
    """

    dense: Any
    sparse: Mapping[int, float] | None = None
    colbert: Any = None


@dataclass(frozen=True)
class Cut:
    """An input that was cut to the model's limit.

    Attributes:
        index: among the request's inputs.
        tokens: number before the cut, including special tokens.
        at_least: whether counting stopped there, so that there may be more.
    """

    index: int
    tokens: int
    at_least: bool = False


@dataclass(frozen=True)
class Embedded:
    """The vectors of each input.

    Attributes:
        vectors: in the order of the inputs.
        tokens: number that the model read, including special tokens.
        cut: inputs that were cut.
        token_encoding: vocabulary as which token ids were read; None if all inputs were texts.
    """

    vectors: tuple[Vectors, ...]
    tokens: int
    cut: tuple[Cut, ...] = ()
    token_encoding: str | None = None


@dataclass(frozen=True)
class RankRequest:
    """Documents to rank for a query; with ``truncate``, documents that are too long are cut."""

    query: str
    documents: tuple[str, ...]
    truncate: bool = False


@dataclass(frozen=True)
class Ranked:
    """A score for each document, higher for more relevant; the rest is as in ``Embedded``."""

    scores: tuple[float, ...]
    tokens: int
    cut: tuple[Cut, ...] = ()

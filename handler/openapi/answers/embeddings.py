"""Answers of embeddings and ranking."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from handler.openapi.answers.shape import Absent, Notice, Shape


class PromptUsage(Shape):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class CutInput(Shape):
    """An input that was longer than the model reads, and how many tokens it has."""

    index: int
    tokens: int
    at_least: bool | Absent = None


class ColbertVectors(Shape):
    """A vector for each token: base64 of float16 numbers, row by row."""

    data: str
    shape: list[int]
    dtype: Literal["float16"]


class Embedding(Shape):
    """The vectors of one input; `sparse` and `colbert` are extensions."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str = Field(
        description="Numbers, or with `encoding_format: base64` those of a float32 array."
    )
    sparse: dict[str, float] | Absent = Field(
        default=None, description="The weight of each token id."
    )
    colbert: ColbertVectors | Absent = None


class VectorFile(Shape):
    """Where the vectors are, as one matrix in NumPy's format."""

    url: str
    format: Literal["npy"]
    dtype: str
    shape: list[int]
    bytes: int


class EmbeddingsResponse(Shape):
    """OpenAI's CreateEmbeddingResponse; those from `token_encoding` on are extensions."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: PromptUsage
    token_encoding: str | Absent = None
    truncated: list[CutInput] | Absent = None
    file: VectorFile | Absent = None
    notice: Notice = None


class RankedText(Shape):
    """A document's text once more."""

    text: str


class RankedDocument(Shape):
    """A document by its place in the request, and how well it answers the query."""

    index: int
    relevance_score: float
    document: RankedText | Absent = None


class RerankResponse(Shape):
    """The documents, the best first."""

    id: str
    object: Literal["rerank"]
    model: str
    results: list[RankedDocument]
    usage: PromptUsage
    truncated: list[CutInput] | Absent = None
    notice: Notice = None

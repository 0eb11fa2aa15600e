"""Embeddings: ``POST /v1/embeddings``."""

from __future__ import annotations

import base64
from typing import Annotated, Any, ClassVar, Literal, TypedDict

from pydantic import Field

from handler.contract.base import Call, NonEmpty, Operation, Request, Surface
from models.embeddings import Embedded, EmbedRequest


class EmbeddingsRequest(Request):
    """The body of an embeddings request."""

    unsupported: ClassVar = {"stream": (False,)}

    input: NonEmpty | Annotated[list[NonEmpty], Field(min_length=1, max_length=2048)]
    dimensions: Annotated[int, Field(ge=1)] | None = None
    encoding_format: Literal["float", "base64"] = "float"
    webhook_url: str | None = None

    @property
    def texts(self) -> tuple[str, ...]:
        """The input as a list."""
        return (self.input,) if isinstance(self.input, str) else tuple(self.input)


class EmbeddingData(TypedDict):
    """One vector: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingsAnswer(TypedDict):
    """OpenAI's CreateEmbeddingResponse."""

    object: Literal["list"]
    model: str
    data: list[EmbeddingData]
    usage: dict[str, int]


async def answer(call: Call) -> EmbeddingsAnswer:
    """Embed all texts of one request."""
    request: EmbeddingsRequest = call.request
    async with call.lease() as model:
        embedded: Embedded = await model.run(EmbedRequest(request.texts, request.dimensions))
    encode = _base64 if request.encoding_format == "base64" else _floats
    return {
        "object": "list",
        "model": call.row.slug,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(embedded.vectors)
        ],
        "usage": {"prompt_tokens": embedded.tokens, "total_tokens": embedded.tokens},
    }


def _floats(vector: Any) -> list[float]:
    numbers: list[float] = vector.tolist()
    return numbers


def _base64(vector: Any) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode("ascii")


SURFACE = Surface(
    name="embeddings",
    marks=("input",),
    operations=(Operation(EmbeddingsRequest, ("/v1/embeddings",), answer),),
    concurrency=256,
)

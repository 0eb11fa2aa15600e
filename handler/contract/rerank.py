"""Ranking documents for a query: ``POST /v1/rerank``, as Cohere, Jina and vLLM answer it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from handler.contract.base import Call, Json, NonEmpty, Operation, Request
from models.embeddings.request import Cut, Ranked
from models.embeddings.request import RerankRequest as Documents

_MAX_DOCUMENTS = 2048


def _text(document: Any) -> Any:
    """A document is a text, or an object that has one."""
    return document.get("text") if isinstance(document, dict) else document


Document = Annotated[NonEmpty, BeforeValidator(_text)]


class RerankRequest(Request):
    """The body of a rerank request."""

    unsupported: ClassVar = {"stream": (False,)}
    aliases: ClassVar = {"top_k": "top_n"}

    query: NonEmpty
    documents: Annotated[list[Document], Field(min_length=1, max_length=_MAX_DOCUMENTS)]
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool = False
    truncate: bool = False

    @property
    def parts(self) -> int:
        """How many documents."""
        return len(self.documents)


async def answer(call: Call) -> Json:
    """Rank the documents, the best first."""
    request: RerankRequest = call.request
    texts = request.documents
    async with call.lease() as model:
        ranked: Ranked = await model.run(Documents(request.query, tuple(texts), request.truncate))
    best = sorted(range(len(texts)), key=lambda index: -ranked.scores[index])[: request.top_n]
    results: list[dict[str, Any]] = [
        {"index": index, "relevance_score": ranked.scores[index]} for index in best
    ]
    if request.return_documents:
        results = [{**one, "document": {"text": texts[one["index"]]}} for one in results]
    return {
        "id": f"rerank-{call.job_id}",
        "object": "rerank",
        "model": call.row.slug,
        "results": results,
        "usage": usage(ranked.tokens),
        **truncated(request.truncate, ranked.cut),
    }


def usage(tokens: int) -> dict[str, int]:
    """OpenAI's usage of a request that generates nothing."""
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def truncated(asked: bool, cut: Sequence[Cut]) -> dict[str, Any]:
    """Which inputs were cut, where the client allowed it: their places and lengths."""
    if not asked:
        return {}
    return {"truncated": [{"index": one.index, "tokens": one.tokens} for one in cut]}


OPERATION = Operation(RerankRequest, ("/v1/rerank",), answer, marks=("documents",), task="rerank")

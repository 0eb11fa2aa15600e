"""Ranking documents for a query: ``POST /v1/rerank``, as Cohere, Jina and vLLM answer it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from handler.contract.base import Call, Json, Operation, with_notice
from handler.contract.embeddings import foreign
from handler.contract.request import Integer, Items, NonEmpty, Request
from handler.contract.unsupported import Unsupported, alike
from models.embeddings.request import Cut, Ranked, RankRequest

MAX_INPUTS = 2048  # OpenAI's own limit, for embeddings


def _text(document: Any) -> Any:
    """A document is a text, or an object that has one."""
    if not isinstance(document, dict):
        return document
    if "text" not in document:
        raise ValueError("must be a text, or an object with a text")
    return document["text"]


Document = Annotated[NonEmpty, BeforeValidator(_text)]


class RerankRequest(Request):
    """The body of a rerank request."""

    unsupported: ClassVar = {
        **foreign.UNSUPPORTED,
        "stream": Unsupported(False),
        "normalize": Unsupported(True),
        "rank_fields": Unsupported(["text"], instead="send the text to rank as each document"),
        "score_threshold": Unsupported(instead="leave out results below it yourself"),
        **alike(
            ("max_tokens_per_doc", "max_chunks_per_doc"),
            "send truncate: true, or shorter documents",
        ),
        "raw_scores": Unsupported(False),
        "instruction": Unsupported(instead="write it before the query yourself"),
    }
    aliases: ClassVar = {
        "top_k": "top_n",
        "texts": "documents",
        "return_text": "return_documents",
        "truncation": "truncate",
    }
    translates: ClassVar = frozenset(foreign.RANKING)

    query: NonEmpty
    documents: Annotated[list[Document], Items(MAX_INPUTS, least=1)]
    top_n: Annotated[Integer, Field(ge=1)] | None = None
    return_documents: bool = False
    truncate: bool = False

    @classmethod
    def translated(cls, given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
        """Put other APIs' fields into our words; see ``foreign``."""
        made = foreign.translated(given, foreign.RANKING)
        return made.body, made.called

    @property
    def parts(self) -> int:
        """The number of documents."""
        return len(self.documents)


async def answer(call: Call) -> Json:
    """Rank the documents, the best first."""
    request: RerankRequest = call.request
    texts = request.documents
    async with call.lease() as model:
        ranked: Ranked = await model.run(RankRequest(request.query, tuple(texts), request.truncate))
    best = sorted(range(len(texts)), key=lambda index: -ranked.scores[index])[: request.top_n]
    results: list[dict[str, Any]] = [
        {"index": index, "relevance_score": ranked.scores[index]} for index in best
    ]
    if request.return_documents:
        bare = call.route is not None
        results = [result | _document(texts[result["index"]], bare=bare) for result in results]
    answered = {
        "id": f"rerank-{call.job_id}",
        "object": "rerank",
        "model": call.row.slug,
        "results": results,
        "usage": usage(ranked.tokens),
        **truncated(request.truncate, ranked.cut),
    }
    return with_notice(answered, call.row)


def _document(text: str, *, bare: bool) -> dict[str, Any]:
    """The text once more.

    A gateway takes a string that begins as an address for a result. Where the answer may go through
    one, a blank stands before it.
    """
    is_address = text.lower().startswith(("http://", "https://"))
    return {"document": {"text": f" {text}" if is_address and not bare else text}}


def usage(tokens: int) -> dict[str, int]:
    """OpenAI's usage of a request that generates nothing."""
    return {"prompt_tokens": tokens, "total_tokens": tokens}


def truncated(asked: bool, cut: Sequence[Cut]) -> dict[str, Any]:
    """Which inputs were cut, where the client allowed it: their places and lengths."""
    if not asked:
        return {}
    inputs: list[dict[str, Any]] = []
    for part in cut:
        more = {"at_least": True} if part.at_least else {}
        inputs.append({"index": part.index, "tokens": part.tokens, **more})
    return {"truncated": inputs}


OPERATION = Operation(
    RerankRequest,
    ("/v1/rerank", "/v2/rerank", "/rerank"),  # Cohere's clients ask the second, TEI's the last
    answer,
    marks=("documents",),
    task="rerank",
    rehearsal=lambda _: {"query": "one", "documents": ["two"]},
)

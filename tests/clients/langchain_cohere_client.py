"""LangChain's reranker for Cohere."""

from __future__ import annotations

import os

from langchain_cohere import CohereRerank
from langchain_core.documents import Document

ranker = CohereRerank(
    model="All_MiniLM_L6_v2", base_url=os.environ["BASE_URL"].removesuffix("/v1"),
    cohere_api_key="any", top_n=2,
)  # fmt: skip
documents = [Document("Interest rates rose."), Document("A fox."), Document("Rain.")]
best = ranker.compress_documents(documents, "A fox")
assert best[0].page_content == "A fox."
assert len(best) == 2
assert ranker.rerank(["a", {"text": "b"}], "b")[0]["index"] in (0, 1)

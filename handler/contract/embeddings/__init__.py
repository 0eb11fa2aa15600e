"""Embeddings and reranking.

embeddings   vectors of texts: ``POST /v1/embeddings``
rerank       documents in the order in which they answer a query: ``POST /v1/rerank``
vectors      vectors in fewer bytes, and many as one file
foreign      fields of other APIs
"""

from handler.contract.embeddings.embeddings import SURFACE

__all__ = ["SURFACE"]

"""Embeddings, and ranking by them.

embeddings   vectors of texts
rerank       documents in the order in which they answer a query
vectors      vectors in fewer bytes, and many as one file
"""

from handler.contract.embeddings.embeddings import SURFACE

__all__ = ["SURFACE"]

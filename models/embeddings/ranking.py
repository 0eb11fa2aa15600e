"""Scores of documents for a query, from their vectors.

BGE-M3 scores by the weighted sum of its three similarities, with the weights of its model card; a
model with only dense vectors scores by their cosine. Source of the formulas: "BGE M3-Embedding"
(Chen et al. 2024, arXiv 2402.03216), sections 3.2 and 4.
"""

from __future__ import annotations

from models.embeddings.lexical import similarity
from models.embeddings.request import Vectors

WEIGHTS = {"dense": 0.4, "sparse": 0.2, "colbert": 0.4}


def score(query: Vectors, document: Vectors) -> float:
    """Return the relevance of a document to a query; higher is more relevant."""
    dense = min(
        1.0, max(-1.0, float(query.dense @ document.dense))
    )  # rounding may exceed the range
    if query.sparse is None or document.sparse is None or query.colbert is None:
        return dense
    return (
        WEIGHTS["dense"] * dense
        + WEIGHTS["sparse"] * similarity(query.sparse, document.sparse)
        + WEIGHTS["colbert"] * late_interaction(query.colbert, document.colbert)
    )


def late_interaction(query: object, document: object) -> float:
    """Return the mean, over the query's tokens, of the cosine to the document's nearest token."""
    import numpy as np

    left, right = np.asarray(query, np.float32), np.asarray(document, np.float32)
    return float((left @ right.T).max(axis=1).mean())

"""Vectors in fewer bytes, and many of them as one file."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any


def convert(vector: Any, dtype: str) -> Any:
    """A unit vector in another type.

    float     float32, as it is
    int8      every number times the same factor, by which the largest becomes 127 or -127: the
              cosine of two vectors stays the same but for rounding; their lengths mean nothing
    ubinary   one bit a number, 1 if it is above 0; 8 in a byte (uint8), the first one highest
    binary    the same bytes less 128, as int8
    """
    import numpy as np

    if dtype == "int8":
        largest = max(float(np.abs(vector).max()), 1e-12)
        return np.round(vector * (127 / largest)).astype(np.int8)
    if dtype in ("binary", "ubinary"):
        packed = np.packbits(vector > 0)
        return packed if dtype == "ubinary" else (packed.astype(np.int16) - 128).astype(np.int8)
    return np.ascontiguousarray(vector, np.float32)


def as_file(vectors: Sequence[Any], dtype: str) -> tuple[bytes, dict[str, Any]]:
    """The vectors as the rows of one matrix in NumPy's ``.npy`` format, and what it is."""
    import numpy as np

    matrix = np.stack([convert(vector, dtype) for vector in vectors])
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    content = buffer.getvalue()
    described = {
        "format": "npy",
        "dtype": str(matrix.dtype),
        "shape": list(matrix.shape),
        "bytes": len(content),
    }
    return content, described

"""What may leave the worker: JSON, exactly, and no more of it than the platform delivers.

The SDK serialises with ``json.dumps(…, ensure_ascii=False)`` and sends UTF-8. What that cannot do
is lost in silence: a numpy value or bytes (TypeError), a lone surrogate (UnicodeEncodeError), an
answer over the platform's limit (refused). NaN leaves as invalid JSON. So every answer is
serialised here first, strictly.
"""

from __future__ import annotations

import json
from typing import Any


class NotJson(Exception):
    """An answer of ours is not JSON: a bug, never a client's fault."""


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def encode(answer: Any) -> bytes:
    """Serialise an answer as the SDK will, refusing what it would lose.

    Raises:
        NotJson: the answer holds something that JSON does not have.
    """
    try:
        return _ENCODER.encode(answer).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"{type(error).__name__} in an answer") from error

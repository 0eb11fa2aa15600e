"""What may leave the worker: JSON, exactly, and no more of it than the platform delivers.

The SDK serialises with ``json.dumps(…, ensure_ascii=False)`` and sends UTF-8. What that cannot do
is lost in silence: a numpy value or bytes (TypeError), a lone surrogate (UnicodeEncodeError), an
answer over the platform's limit (refused). NaN leaves as invalid JSON. So every answer is
serialised here, strictly and once; ``handler.doors.queue`` has the SDK send it as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class NotJson(Exception):
    """An answer of ours is not JSON: a bug, never a client's fault."""


@dataclass(frozen=True, repr=False)
class Encoded:
    """An answer as JSON in UTF-8, serialised once: megabytes are not looked through again."""

    content: bytes

    def __repr__(self) -> str:
        """Its size; the SDK formats every answer for a log that nobody may read."""
        return f"<{len(self.content)} bytes of JSON>"


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)


def encode(answer: Any) -> bytes:
    """Serialise an answer, refusing what JSON or the SDK would lose; one that is stays as it is.

    Raises:
        NotJson: the answer holds something that JSON does not have.
    """
    if isinstance(answer, Encoded):
        return answer.content
    try:
        return _ENCODER.encode(answer).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise NotJson(f"{type(error).__name__} in an answer") from error

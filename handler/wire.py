"""Answers as they leave the worker: strict JSON, or over HTTP a text or a file as it is.

The SDK serialises with ``json.dumps(…, ensure_ascii=False)`` and sends UTF-8. What that cannot do
is lost in silence: a numpy value or bytes (TypeError), a lone surrogate (UnicodeEncodeError), an
answer over the platform's limit (refused). NaN leaves as invalid JSON. So every answer is
serialised here, strictly and once; ``handler.doors.queue`` has the SDK send it as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"


class NotJson(Exception):
    """An answer of ours is not JSON: a bug, never a client's fault."""


@dataclass(frozen=True, repr=False)
class Encoded:
    """An answer as bytes, serialised once: megabytes are not looked through again.

    Attributes:
        content: JSON in UTF-8, but for the doors that carry texts and files as they are.
        media_type: of the content.
        headers: that HTTP has besides.
    """

    content: bytes
    media_type: str = _JSON
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        """Its size; the SDK formats every answer for a log that nobody may read."""
        return f"<{len(self.content)} bytes of {self.media_type}>"


@dataclass(frozen=True, repr=False)
class File:
    """An answer that is a file: sound, say.

    Over HTTP it leaves as it is, with ``about`` in a header. Behind the queue it is an object with
    ``about`` and a ``url`` where there is a bucket, or its ``b64_json``.

    Attributes:
        content: the file.
        media_type: ``audio/mpeg``.
        name: with its ending, ``speech.mp3``.
        about: what a client may want to know of it, in JSON.
    """

    content: bytes
    media_type: str
    name: str
    about: Mapping[str, Any] = field(default_factory=dict)


def as_it_is(answer: Any) -> Encoded | None:
    """A text or a file as HTTP carries it; None for an answer that is JSON."""
    if isinstance(answer, str):
        return Encoded(answer.encode("utf-8"), _TEXT)
    if isinstance(answer, File):
        return Encoded(answer.content, answer.media_type, about_header(answer.about))
    return None


def about_header(about: Mapping[str, Any]) -> dict[str, str]:
    """What a file does not say itself, as a header: JSON in ASCII."""
    return {"x-about": json.dumps(about)} if about else {}


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

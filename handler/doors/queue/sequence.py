"""Numbers of a stream's events, and the event that says that some are missing.

A post whose answer is lost is repeated, so that an event may arrive twice. Its number tells: an
event with a number that was seen is a repeat, a gap is a loss, and 0 is the beginning.
"""

from __future__ import annotations

import json
from typing import Any

_MESSAGE = (
    "Events of this stream were lost on their way. {}The stream ends here and is not complete."
)
_WHOLE = "The job's output holds the whole answer. "


def numbered(event: Any, sequence: int) -> Any:
    """Return an event with its number: as ``sequence`` of an object, as ``id`` of an SSE text."""
    if isinstance(event, str):
        return f"id: {sequence}\n{event}"
    return {**event, "sequence": sequence} if isinstance(event, dict) else event


def incomplete(*, as_text: bool) -> Any:
    """Return the last event of a stream of which events were lost.

    Args:
        as_text: whether the stream is server-sent events; OpenAI's clients raise the error in it.
    """
    if as_text:
        message = _MESSAGE.format("")
        error = {"message": message, "type": "server_error", "param": None}
        content = json.dumps({"error": {**error, "code": "stream_incomplete"}})
        return f"data: {content}\n\n"
    return {"type": "stream.incomplete", "choices": [], "message": _MESSAGE.format(_WHOLE)}

"""Logs: one JSON object a line on standard error, never a prompt, never a secret.

An exception is logged as its type and the frames it came through. Its message is left out, because
libraries put their input into messages; ``RUNPOD_LOG_LEVEL=DEBUG`` adds it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import traceback
import warnings

_LEVELS = {"WARN": "WARNING"}
_OURS = ("handler", "models", "builder")
_QUERY = re.compile(r"(?<=[\w/$-])\?[\w.~%-]+=[^\s'\")>]*")


def masked(text: str) -> str:
    """Return the text, with every address in it without its query, which may hold a token."""
    return _QUERY.sub("?…", text)


class JsonLines(logging.Formatter):
    """RunPod's own keys: ``requestId``, ``message``, ``level``."""

    def __init__(self, with_messages: bool) -> None:
        super().__init__()
        self._with_messages = with_messages

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line."""
        line: dict[str, object] = {
            "requestId": getattr(record, "job_id", None),
            "message": masked(record.getMessage()),
            "level": record.levelname,
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)
            line["error"] = type(error).__name__
            line["frames"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
            if self._with_messages:
                line["error_message"] = masked(str(error))
        return json.dumps(line)


class Plain(JsonLines):
    """The same for a person at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line, with the frames of an exception below it."""
        line = json.loads(super().format(record))
        text = f"{line['level'].lower():8}{line['message']}"
        if "error" in line:
            text += f" ({line['error']})\n" + "\n".join(f"  {frame}" for frame in line["frames"])
        return text


def configure(level: str, as_json: bool) -> None:
    """Send our own logs to standard error; other libraries speak from WARNING up."""
    # Pillow's, of a client's damaged picture: no JSON, and no concern of the operator's.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter((JsonLines if as_json else Plain)(with_messages=level == "DEBUG"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for name in _OURS:
        logging.getLogger(name).setLevel(_LEVELS.get(level, level))

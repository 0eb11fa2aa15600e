"""Chat as a surface."""

from __future__ import annotations

from handler.contract.base import Surface
from handler.contract.chat import chat, completions, responses

SURFACE = Surface(
    name="chat",
    operations=(chat.OPERATION, completions.OPERATION, responses.OPERATION),
    companions=frozenset({"documents"}),  # of a chat with retrieval
    concurrency=2,
)

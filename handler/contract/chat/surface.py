"""Chat as a surface."""

from __future__ import annotations

from handler.contract.base import Surface
from handler.contract.chat import anthropic, chat, completions, ocr, responses

SURFACE = Surface(
    name="chat",
    operations=(
        chat.OPERATION,
        completions.OPERATION,
        responses.OPERATION,
        anthropic.OPERATION,
        anthropic.COUNT,
        ocr.OPERATION,
    ),
    # Of a chat with retrieval, and of one with pictures beside its messages.
    companions=frozenset({"documents", "image", "images", "image_url", "input_image"}),
    concurrency=2,
)

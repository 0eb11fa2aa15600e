"""LangChain's chat model with connections that are closed at the end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from langchain_openai import ChatOpenAI


@contextmanager
def langchain_chat(base_url: str, **options: Any) -> Iterator[ChatOpenAI]:
    """Lend a chat model of LangChain's. Its own clients stay open until the process ends."""
    with httpx.Client(timeout=60) as http:
        yield ChatOpenAI(base_url=base_url, api_key="any", http_client=http, **options)

"""FastAPI's routes with strict JSON.

Python's parser accepts NaN, and FastAPI treats an empty body as if none was sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from local.api.common import strict

_JSON = re.compile(r"application/([a-z.-]+\+)?json(;.*)?", re.IGNORECASE)


class NotJson(Exception):
    """A body that is declared as JSON is not JSON."""


def is_json(content_type: str) -> bool:
    """Whether a body of this type is read as JSON."""
    return _JSON.fullmatch(content_type.strip()) is not None


class JsonRoute(APIRoute):
    """A route whose body is parsed strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return FastAPI's handler, called with a strict request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            strict_request = _Request(request.scope, request.receive)
            if self.body_field is not None and is_json(request.headers.get("content-type", "")):
                await strict_request.json()
            return await handle(strict_request)

        return answer


class _Request(Request):
    async def json(self) -> Any:
        """Return the parsed body, which is read once.

        Raises:
            NotJson: the body is not JSON.
        """
        if not hasattr(self, "_json"):
            content = await self.body()
            try:
                self._json = strict(content)
            except (ValueError, RecursionError) as error:
                raise NotJson from error
        return self._json

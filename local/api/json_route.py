"""FastAPI's routes, but what they take for JSON is JSON: Python's reader knows NaN, and says it."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from local.api.common import strict


class JsonRoute(APIRoute):
    """A route whose body is read strictly."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """As FastAPI's, with our request."""
        handle = super().get_route_handler()

        async def answer(request: Request) -> Response:
            return await handle(_Request(request.scope, request.receive))

        return answer


class _Request(Request):
    async def json(self) -> Any:
        """The body, read once.

        Raises:
            JSONDecodeError: which FastAPI answers as a body that is no JSON.
        """
        if not hasattr(self, "_json"):
            content = await self.body()
            try:
                self._json = strict(content)
            except (ValueError, RecursionError) as error:
                raise json.JSONDecodeError(str(error), "", 0) from None
        return self._json

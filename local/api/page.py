"""The routes of the page, besides those that every client uses."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from local.api.board import changes
from local.api.client import ClientRoutes
from local.api.common import Refused, authorised, json_response
from local.api.measures import measures
from local.queue.platform import Platform
from playground.pages import page_routes


class PageRoutes:
    """The page, its events and its metrics.

    Args:
        platform: the queues.
        client: finds endpoints and jobs.
        key: the key that the page must send; None = none.
    """

    def __init__(self, platform: Platform, client: ClientRoutes, key: str | None) -> None:
        self._platform = platform
        self._client = client
        self._key = key

    def routes(self) -> list[Route]:
        """Return all routes."""
        endpoints = self._platform.endpoints
        about = {
            "kind": "platform",
            "surfaces": list(endpoints.surfaces),
            "endpoints": list(self._platform.served),
            "limit_bytes": self._platform.limits.runsync_bytes,
            "key": self._key is not None,
        }
        return [
            Route("/metrics", self._guarded(self._metrics)),
            Route("/playground/events", self._guarded(self._events)),
            Route("/playground/jobs/{endpoint}/{job}", self._guarded(self._job)),
            *page_routes(about),
        ]

    def _guarded(
        self, handler: Callable[[Request], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        """Require the key, if one is set; the page's own files are public."""

        async def endpoint(http: Request) -> Response:
            if self._key is not None and not authorised(http, self._key):
                raise Refused(401, "unauthorized")
            return await handler(http)

        return endpoint

    async def _metrics(self, http: Request) -> Response:
        return await measures(self._platform)

    async def _events(self, http: Request) -> Response:
        async def events() -> AsyncGenerator[str, None]:
            async with aclosing(changes(self._platform)) as all_changes:
                async for change in all_changes:
                    yield f"data: {json.dumps(change)}\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _job(self, http: Request) -> Response:
        """Return a job's status and input."""
        job = self._client.job(
            self._client.endpoint(http.path_params["endpoint"]), http.path_params["job"]
        )
        return json_response({**job.view(), "input": job.order.input})

"""A receiver of webhooks that fails as often as it is told."""

from __future__ import annotations

from aiohttp import web


class Receiver:
    def __init__(self, failures: int = 0) -> None:
        self._failures = failures
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []

    def application(self) -> web.Application:
        application = web.Application()
        application.router.add_post("/hook", self._take)
        return application

    async def _take(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.read())
        self.headers.append(dict(request.headers))
        return web.Response(status=500 if len(self.bodies) <= self._failures else 200)

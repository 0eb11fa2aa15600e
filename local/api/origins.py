"""CORS: which web pages may send requests."""

from __future__ import annotations

import re
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# A page of this machine, such as a front end in development.
_OWN_PAGE = re.compile(r"https?://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?", re.IGNORECASE)
_ALLOWED = {
    "Access-Control-Allow-Headers": "Content-Type, Authorization, Accept",
    "Access-Control-Allow-Methods": "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS",
}


class Origins:
    """Adds the gateway's CORS headers to every answer, and answers ``OPTIONS`` with 204.

    The gateway allows all pages. Here that holds if a key is required. Without a key, any page open
    in a browser could use the platform, so only pages of this machine are allowed.

    Args:
        application: the wrapped application.
        has_key: whether clients must send a key.
    """

    def __init__(self, application: ASGIApp, *, has_key: bool) -> None:
        self._application = application
        self._has_key = has_key

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        allowed = self._allowed(Headers(scope=scope).get("origin"))
        if scope["method"] == "OPTIONS":
            headers = [(k.lower().encode(), v.encode()) for k, v in allowed.items()]
            await send({"type": "http.response.start", "status": 204, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return

        async def send_allowed(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(allowed)
            await send(message)

        await self._application(scope, receive, send_allowed)

    def _allowed(self, origin: str | None) -> Mapping[str, str]:
        if self._has_key or origin is None:
            return {"Access-Control-Allow-Origin": "*", **_ALLOWED}
        own = {"Access-Control-Allow-Origin": origin} if _OWN_PAGE.fullmatch(origin) else {}
        return {**own, **_ALLOWED, "Vary": "Origin"}

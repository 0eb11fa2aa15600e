"""Checks before any route: the host name, the key, and the size of the body.

``HEAD`` is answered as ``GET``; the server omits the body.
"""

from __future__ import annotations

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from local.api.common import Refused, read_body
from local.api.front import Front, GatewayError, upstream

_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})


class Gate:
    """Refuses requests before they reach a route.

    ``Host`` must be a name of this server, so that a web page whose name resolves to this machine
    cannot act for the user (DNS rebinding). FastAPI reads the bodies of the gateway's routes
    without a limit and before it checks the key, so both are checked here.
    """

    def __init__(
        self, application: ASGIApp, front: Front, names: frozenset[str] = frozenset()
    ) -> None:
        self._application = application
        self._front = front
        self._names = _NAMES | names

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if _host(scope) not in self._names:
            refusal = Response("This is not one of this server's names.", 421)
            await (refusal(scope, receive, send) if scope["type"] == "http" else _close(send))
            return
        if not scope["path"].startswith("/v1/"):
            await self._application(scope, receive, send)
        elif scope["type"] == "http":
            await self._guarded(scope, receive, send)
        else:
            socket = WebSocket(scope, receive, send)
            try:
                self._front.check_key(socket)
            except GatewayError as error:
                await socket.receive()
                await socket.send_denial_response(error.response())
                return
            await self._application(scope, receive, send)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        try:
            receive = await self._let_in(Request(scope, receive))
        except GatewayError as error:
            await error.response()(scope, receive, send)
        except ClientDisconnect:
            pass
        else:
            await self._application(scope, receive, send)

    async def _let_in(self, http: Request) -> Receive:
        """Check the key, read the body, and return a ``receive`` that yields it."""
        self._front.check_key(http)
        limits = self._front.platform.limits
        sync = http.url.path.endswith("/runsync")
        try:
            body = await read_body(http, limits.runsync_bytes if sync else limits.run_bytes)
        except Refused as refused:
            raise upstream(refused) from None
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return messages.pop() if messages else await http.receive()

        return receive


def _host(scope: Scope) -> str:
    """Return the host name in the request, without a port."""
    host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    name: str = host if host.endswith("]") else host.rpartition(":")[0] or host
    return name.lower()


async def _close(send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008, "reason": "not a name of this server"})

"""Limits on connections and on who may ask, which hold before any route is reached."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.auto import AutoHTTPProtocol

from handler.errors import OriginForbidden, RequestTimeout, RequestTooLarge, error_object

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")

KEEP_ALIVE_S = 75  # longer than a balancer keeps an idle connection: it must not find it closed


@dataclass(frozen=True)
class BodyLimits:
    """Limits on the size of a body and the time it may take.

    Attributes:
        size_bytes: in all.
        pause_s: between two pieces.
        whole_s: from the first piece to the last; a load balancer gives up after 330 s.
    """

    size_bytes: int
    pause_s: float = 30.0
    whole_s: float = 300.0


class Limited:
    """Refuses, as it comes in, a body that is too large or too slow."""

    def __init__(self, application: ASGIApp, limits: BodyLimits) -> None:
        self._application = application
        self._limits = limits

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._application(scope, receive, send)
            return
        await self._application(scope, _Body(receive, self._limits).receive, send)


class _Body:
    """A request's body as it comes in."""

    def __init__(self, receive: Receive, limits: BodyLimits) -> None:
        self._receive = receive
        self._limits = limits
        self._read_bytes = 0
        self._end = time.monotonic() + limits.whole_s
        self._whole = False

    async def receive(self) -> Message:
        """Receive the next message; raises where the body is too large or too slow."""
        if self._whole:  # what follows is the client's going away, which may take its time
            return await self._receive()
        left_s = min(self._limits.pause_s, max(0.0, self._end - time.monotonic()))
        try:
            async with asyncio.timeout(left_s):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout(
                f"The body did not come in time: {self._read_bytes} bytes of it are here. It may "
                f"pause for {self._limits.pause_s:g} s and take {self._limits.whole_s:g} s."
            ) from None
        self._read_bytes += len(message.get("body", b""))
        self._whole = not message.get("more_body", False)
        if self._read_bytes > self._limits.size_bytes:
            raise RequestTooLarge(
                f"A request may have {self._limits.size_bytes} bytes at most; got "
                f"{self._read_bytes} or more. Send less at once, or a URL instead of a file."
            )
        return message


class PlainPaths:
    """Reads ``//v1/…`` as ``/v1/…``: a base URL that ends in a slash makes such paths."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] == "http" and "//" in scope["path"]:
            scope = {**scope, "path": re.sub("/{2,}", "/", scope["path"])}
        await self._application(scope, receive, send)


class OwnPages:
    """Refuses requests of web pages that are not of this machine.

    A server on loopback asks for no key. A page of any other site that is open in the user's
    browser could use it: a form or a ``fetch`` with ``text/plain`` needs no permission to be sent.
    """

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        origin = Headers(scope=scope).get("origin") if scope["type"] == "http" else None
        if origin is None or _host(origin) in LOOPBACK:
            await self._application(scope, receive, send)
            return
        error = OriginForbidden(
            "Requests of a web page are taken from pages of this machine alone. Serve on another "
            "address (SERVE_HOST) behind a proxy that checks who asks."
        )
        await JSONResponse({"error": error_object(error)}, 403)(scope, receive, send)


def _host(origin: str) -> str | None:
    try:
        return urlsplit(origin).hostname  # None of ``null``, a page without an address
    except ValueError:
        return None


class PatientProtocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
    """Uvicorn's protocol, which also closes connections that bring no request.

    Uvicorn itself waits for the end of headers for ever, and goes on to read an endless body after
    it was answered.

    Attributes:
        unasked_s: how long headers may take from their first byte, or the rest of a body that was
            answered before it was whole.
        unasked_bytes: how much of either is read.
    """

    unasked_s = 30.0
    unasked_bytes = 32 << 20

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._closing: asyncio.TimerHandle | None = None
        self._count_bytes = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._wait(KEEP_ALIVE_S)

    def data_received(self, data: bytes) -> None:
        """Read on; what is of no request that waits for an answer has bounds."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._go_on()
            return
        if not self._count_bytes:
            self._go_on()
            self._wait(self.unasked_s)
        self._count_bytes += len(data)
        if self._count_bytes > self.unasked_bytes:
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._go_on()
        super().connection_lost(exc)

    def _wait(self, time_s: float) -> None:
        self._closing = self.loop.call_later(time_s, self._close)

    def _go_on(self) -> None:
        self._count_bytes = 0
        if self._closing is not None:
            self._closing.cancel()
            self._closing = None

    def _close(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

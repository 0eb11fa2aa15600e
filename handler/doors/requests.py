"""Between HTTP and the worker: bodies in, answers and errors out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handler.contract.base import Operation
from handler.doors.forms import read_form
from handler.errors import RequestTooLarge, RouteUnknown, error_object, error_of, http_status
from handler.wire import encode
from models.errors import InvalidValue, QuartetError

log = logging.getLogger(__name__)

Result = TypeVar("Result")


def read(
    http: HttpRequest, operation: Operation
) -> AbstractAsyncContextManager[tuple[dict[str, Any], dict[str, Path]]]:
    """Lend a request's body, and the files that came with it by their reference.

    Raises:
        InvalidValue: it is neither a JSON object nor a multipart form.
        RequestTooLarge: see ``Limited``.
    """
    if http.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        return read_form(http, operation.request)
    return _read_json(http)


@asynccontextmanager
async def _read_json(http: HttpRequest) -> AsyncIterator[tuple[dict[str, Any], dict[str, Path]]]:
    try:
        body = json.loads(await http.body())
    except (ValueError, RecursionError):
        raise InvalidValue("The body is not JSON in UTF-8.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidValue("The body must be a JSON object.", code="invalid_json")
    yield body, {}


async def while_connected(http: HttpRequest, work: Awaitable[Result]) -> Result:
    """Wait for the work, and cancel it when the client goes away: nobody would read the answer."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(http))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
        return await task
    except asyncio.CancelledError:
        if gone.done():
            raise HTTPException(499) from None
        raise
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def response(output: Any, job_id: str = "") -> Response:
    """What leaves ``Worker``, as HTTP: an object, a text, or an error with the status it has."""
    headers = {"x-request-id": job_id} if job_id else None
    error = error_of(output)
    if error is not None:
        return _json({"error": error}, http_status(error), headers)
    content = encode(output)
    if content.startswith(b'"'):  # a transcript as text, srt or vtt
        return PlainTextResponse(json.loads(content), headers=headers)
    return Response(content, 200, headers, media_type="application/json")


def _json(content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(content), status, headers, media_type="application/json")


async def refused(http: HttpRequest, error: Exception) -> Response:
    """What is wrong with a request before it is a job."""
    if not isinstance(error, QuartetError):
        log.error("%s failed", http.url.path, exc_info=error)
    told = error_object(error)
    return _json({"error": told}, http_status(told))


async def no_such_route(http: HttpRequest, error: Exception) -> Response:
    """An address, or a method of it, that is not there."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    told = error_object(RouteUnknown(f"There is no {http.method} {http.url.path[:60]} here."))
    return _json({"error": told}, status)


class Limited:
    """Refuses a body that is larger than the limit, as it comes in."""

    def __init__(self, application: ASGIApp, limit_bytes: int) -> None:
        self._application = application
        self._limit_bytes = limit_bytes

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        read_bytes = 0

        async def counted() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._limit_bytes:
                raise RequestTooLarge(
                    f"A request may have {self._limit_bytes} bytes at most; got {read_bytes} or "
                    "more. Send less at once, or a URL instead of a file."
                )
            return message

        await self._application(scope, counted, send)

"""Between HTTP and the worker: bodies in, answers and errors out."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from handler.contract.base import Operation
from handler.doors.http.forms import read_form
from handler.errors import RequestTooLarge, RouteUnknown, error_object, error_of, http_status
from handler.wire import encode
from models.errors import InvalidValue, QuartetError, shorten

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_LARGE_BYTES = 1 << 18  # parsing more holds up the event loop noticeably
_MOST_OBJECTS = 1_000_000
_CLIENT_CLOSED = 499  # nginx's status; nobody reads it


@asynccontextmanager
async def read(
    http: HttpRequest, operation: Operation
) -> AsyncIterator[tuple[dict[str, Any], dict[str, Path]]]:
    """Lend a request's body, and the files that came with it by their reference.

    Raises:
        InvalidValue: it is neither a JSON object nor a form.
        RequestTooLarge: it is too large, or holds too many objects.
        RequestTimeout: it does not come in time.
    """
    if await _is_form(http):
        async with read_form(http, operation.request) as form:
            yield form
        return
    yield await _json_object(http, operation), {}


async def _is_form(http: HttpRequest) -> bool:
    """Whether the body is a form; curl calls everything one that it sends with ``-d``."""
    kind = http.headers.get("content-type", "").lower()
    if kind.startswith("multipart/"):
        return True
    is_text = kind.startswith("application/x-www-form-urlencoded")
    return is_text and not (await http.body()).lstrip().startswith((b"{", b"["))


async def _json_object(http: HttpRequest, operation: Operation) -> dict[str, Any]:
    kind = http.headers.get("content-type", "").lower().partition(";")[0].strip()
    if kind.startswith(("audio/", "video/", "image/", "application/octet-stream")):
        name = next(iter(operation.request.files), None)
        hint = "JSON" if name is None else f"a form (with curl: -F {name}=@path), or JSON"
        raise InvalidValue(
            f"The body is {shorten(kind)}; send {hint}.", param=name, code="invalid_json"
        )
    content = await http.body()
    _check_count(content)
    try:
        large = len(content) > _LARGE_BYTES
        body = await asyncio.to_thread(json.loads, content) if large else json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidValue("The body is not JSON in UTF-8.", code="invalid_json") from None
    if not isinstance(body, dict):
        raise InvalidValue("The body must be a JSON object.", code="invalid_json")
    return body


def _check_count(content: bytes) -> None:
    """Refuse JSON of very many lists and objects: each takes twenty times its bytes as memory.

    Brackets within strings count, too: text in which every tenth character is one still passes.

    Raises:
        RequestTooLarge: there are too many.
    """
    count = content.count(b"{") + content.count(b"[")
    if count > _MOST_OBJECTS:
        raise RequestTooLarge(
            f"A body may hold {_MOST_OBJECTS} lists and objects at most; got some {count}."
        )


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
            raise HTTPException(_CLIENT_CLOSED) from None
        raise
    finally:
        task.cancel()
        gone.cancel()


async def _disconnected(http: HttpRequest) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass


def response(output: Any, job_id: str = "", operation: Operation | None = None) -> Response:
    """Return the worker's output as HTTP: JSON, a text, a file, or an error with its status.

    Args:
        output: the worker's.
        job_id: of the job, empty where there is none.
        operation: whose form an error has; None = OpenAI's.
    """
    headers = {"x-request-id": job_id} if job_id else {}
    error = error_of(output)
    if error is not None:
        body = {"error": error} if operation is None else operation.refusal(error)
        return _json(body, http_status(error), headers)
    headers |= output.headers
    return Response(output.content, 200, headers, media_type=output.media_type)


def _json(content: Any, status: int, headers: dict[str, str] | None = None) -> Response:
    return Response(encode(content), status, headers, media_type="application/json")


async def refused(http: HttpRequest, error: Exception) -> Response:
    """Answer a request that is refused before it becomes a job."""
    if not isinstance(error, QuartetError):
        log.error("%s failed", http.url.path, exc_info=error)
    told = error_object(error)
    return _json({"error": told}, http_status(told))


async def left(http: HttpRequest, error: Exception) -> Response:
    """Answer nobody: the client went away while it sent its request."""
    return Response(status_code=_CLIENT_CLOSED)


async def no_such_route(http: HttpRequest, error: Exception) -> Response:
    """An address, or a method of it, that is not there; OPTIONS asks which methods are."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if http.method == "OPTIONS" and status == 405 and isinstance(error, HTTPException):
        return Response(status_code=204, headers=error.headers)
    told = error_object(RouteUnknown(f"There is no {http.method} {http.url.path[:60]} here."))
    return _json({"error": told}, status)

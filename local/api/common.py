"""What all routes share: keys, bodies, and noticing that the other side has left."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

Result = TypeVar("Result")


class Refused(Exception):
    """A request that is answered with a status and one line."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Gone(Exception):
    """The other side closed its connection; nobody reads an answer."""


def json_response(content: Any, status: int = 200) -> Response:
    """JSON, as the SDK writes it."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    return Response(body, status, media_type="application/json")


def authorised(http: HTTPConnection, key: str | None) -> bool:
    """Whether a request brings the key, or any at all where none is set.

    RunPod takes it with and without the word ``Bearer``.
    """
    given = http.headers.get("authorization", "")
    if given.lower().startswith("bearer"):
        given = given[6:]
    given = given.strip()
    if not given:
        return False
    return key is None or hmac.compare_digest(given.encode(), key.encode())


async def read_object(http: Request, limit_bytes: int) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        Refused: it is none, or larger than the limit.
    """
    content = bytearray()
    async for chunk in http.stream():
        content += chunk
        if len(content) > limit_bytes:
            raise Refused(400, f"body: exceeded max body size of {limit_bytes} bytes")
    try:
        body = json.loads(bytes(content) or b"{}")
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "the body must be a JSON object")
    return body


async def while_connected(http: Request, work: Awaitable[Result]) -> Result:
    """Wait for the work as long as the other side stays.

    Raises:
        Gone: it left; the work is cancelled.
    """
    task = asyncio.ensure_future(work)
    left = asyncio.ensure_future(_left(http))
    try:
        await asyncio.wait({task, left}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise Gone
    finally:
        task.cancel()
        left.cancel()


async def _left(http: Request) -> None:
    while (await http.receive())["type"] != "http.disconnect":
        pass

"""Functions that all routes share: keys, bodies, and detecting a closed connection."""

from __future__ import annotations

import asyncio
import hmac
import json
import math
from collections.abc import Awaitable
from typing import Any, TypeVar

from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

Result = TypeVar("Result")


class Refused(Exception):
    """A request that is answered with an error status and a message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Gone(Exception):
    """The client closed its connection, so no answer is needed."""


def json_response(content: Any, status: int = 200) -> Response:
    """Return JSON in ASCII, which can express any string of JSON, unpaired surrogates included."""
    text = json.dumps(content, allow_nan=False)
    return Response(text, status, media_type="application/json")


def strict(content: bytes) -> Any:
    """Parse JSON strictly.

    Raises:
        ValueError: the content is not JSON; NaN and Infinity are not JSON either.
        RecursionError: it is nested too deeply.
    """
    return json.loads(content, parse_constant=_no_number, parse_float=_finite)


def parse(content: bytes) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        Refused: the content is not a JSON object.
    """
    try:
        body = strict(content or b"{}")
    except (ValueError, RecursionError):
        raise Refused(400, "body: not JSON") from None
    if not isinstance(body, dict):
        raise Refused(400, "body: not a JSON object")
    return body


def _no_number(name: str) -> float:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def is_number(text: str, digits: int = 15) -> bool:
    """Whether a text is a number that ``int`` reads, of at most this many digits."""
    return text.isascii() and text.isdigit() and len(text) <= digits


def authorised(http: HTTPConnection, key: str | None) -> bool:
    """Whether a request has the key, or any key if none is set.

    RunPod accepts it with and without the word ``Bearer``.
    """
    given = http.headers.get("authorization", "")
    if given.lower().startswith("bearer"):
        given = given[6:]
    given = given.strip()
    if not given:
        return False
    return key is None or hmac.compare_digest(given.encode(), key.encode())


async def read_body(http: Request, limit_bytes: int) -> bytes:
    """Read a body up to the limit.

    Raises:
        Refused: the body is larger.
    """
    content = bytearray()
    async for chunk in http.stream():
        content += chunk
        if len(content) > limit_bytes:
            raise Refused(400, f"body: exceeded max body size of {limit_bytes} bytes")
    return bytes(content)


async def read_object(http: Request, limit_bytes: int) -> dict[str, Any]:
    """Read a JSON object; raises what ``read_body`` and ``parse`` raise."""
    return parse(await read_body(http, limit_bytes))


async def while_connected(http: Request, work: Awaitable[Result]) -> Result:
    """Wait for the work while the client is connected.

    Raises:
        Gone: the client disconnected; the work is cancelled.
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

"""A bound on the requests that a worker answers at a time, by their number and by their bytes.

A request over the bound is answered at once with 429 and ``Retry-After``, before its body is read.
Without a bound, requests would wait for the device in memory: all of them would be answered late,
after their clients have given up, and the process would grow with every further one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handler.errors import WorkerBusy, error_object

_RECENT = 64  # answers from which the pace of a worker is estimated
_UNKNOWN_S = 5.0  # until there are some
_LONGEST_S = 60.0


@dataclass(frozen=True)
class CrowdLimits:
    """How much a worker answers at a time.

    Attributes:
        requests: returns how many requests; what a worker can do may change as models are loaded.
        size_bytes: how many bytes their bodies have in all; a request that is alone may have more.
    """

    requests: Callable[[], int] = lambda: 32
    size_bytes: int = 256_000_000


class Crowd:
    """Refuses requests of some paths while there are too many.

    Args:
        application: answers the others.
        limits: the bound.
        paths: those that are bounded; the rest is cheap, and a health check must be answered.
        note: called with the path of each request that is refused.
    """

    def __init__(
        self,
        application: ASGIApp,
        limits: CrowdLimits,
        paths: Collection[str],
        note: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._application = application
        self._limits = limits
        self._paths = frozenset(paths)
        self._note = note
        self._count = 0
        self._size_bytes = 0
        self._ends: deque[float] = deque(maxlen=_RECENT)

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        bounded = scope["type"] == "http" and scope["method"] == "POST"
        if not (bounded and scope["path"] in self._paths):
            await self._application(scope, receive, send)
            return
        size_bytes = _declared(scope)
        if self._is_full(size_bytes):
            self._note(scope["path"])
            await self._refusal()(scope, receive, send)
            return
        body = _Counted(receive, size_bytes, self._add)
        self._count += 1
        self._add(size_bytes)
        try:
            await self._application(scope, body.receive, send)
        finally:
            self._count -= 1
            self._add(-body.counted_bytes)
            self._ends.append(time.monotonic())

    def _is_full(self, size_bytes: int) -> bool:
        if self._count >= self._limits.requests():
            return True
        return self._count > 0 and self._size_bytes + size_bytes > self._limits.size_bytes

    def _add(self, size_bytes: int) -> None:
        self._size_bytes += size_bytes

    def _refusal(self) -> JSONResponse:
        error = WorkerBusy(
            f"The worker answers {self._count} requests with {self._size_bytes} bytes at the "
            f"moment, of {self._limits.requests()} and {self._limits.size_bytes}. Send it again "
            "after the time in Retry-After."
        )
        headers = {"retry-after": str(self._wait_s())}
        return JSONResponse({"error": error_object(error)}, 429, headers)

    def _wait_s(self) -> int:
        """Return the time in which half of the requests are answered, at the pace of late."""
        if len(self._ends) < 2:
            return math.ceil(_UNKNOWN_S)
        pace = len(self._ends) / max(0.001, time.monotonic() - self._ends[0])
        return math.ceil(min(_LONGEST_S, max(1.0, self._count / 2 / pace)))


class _Counted:
    """A body whose bytes are counted as they come, where the client has not said how many."""

    def __init__(self, receive: Receive, declared_bytes: int, add: Callable[[int], None]) -> None:
        self._receive = receive
        self._add = add
        self._read_bytes = 0
        self.counted_bytes = declared_bytes

    async def receive(self) -> Message:
        """Receive the next message."""
        message = await self._receive()
        self._read_bytes += len(message.get("body", b""))
        if (more := self._read_bytes - self.counted_bytes) > 0:
            self.counted_bytes += more
            self._add(more)
        return message


def _declared(scope: Scope) -> int:
    """Return the length of the body by its header, 0 without one."""
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0

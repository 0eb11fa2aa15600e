"""A bound on the requests that a worker answers at a time, by their number and by their bytes.

A request over the bound is answered with 429 and ``Retry-After``, before its body is read if the
bound is reached by then.
Without a bound, requests would wait for the device in memory: all of them would be answered late,
after their clients have given up, and the process would grow with every further one.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from handler.errors import WorkerBusy, error_object

_READING_TIMES = 16  # so many requests may come in for each that may be answered
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

    A request counts once its body is whole, so that clients which send slowly hold up nobody;
    while it comes in, its bytes count.

    Args:
        application: answers the others.
        limits: the bound.
        paths: those that are bounded; the rest is cheap, and a health check must be answered.
        note: called with the path of each request that is refused before its body is read.
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
        self._reading = 0
        self._whole = 0
        self._size_bytes = 0
        self._ends: deque[float] = deque(maxlen=_RECENT)

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        bounded = scope["type"] == "http" and scope["method"] == "POST"
        if not (bounded and scope["path"] in self._paths):
            await self._application(scope, receive, send)
            return
        if self._is_full or self._is_over(_declared(scope)):
            self._note(scope["path"])
            error = error_object(self._busy())
            await JSONResponse({"error": error}, 429)(scope, receive, self._timed(send))
            return
        place = _Place(self, receive)
        self._reading += 1
        try:
            await self._application(scope, place.receive, self._timed(send))
        finally:
            self._reading -= not place.whole
            self._whole -= place.whole
            self._size_bytes -= place.size_bytes
            if place.whole:
                self._ends.append(time.monotonic())

    def add(self, size_bytes: int) -> None:
        """Count bytes that have come.

        Raises:
            WorkerBusy: there are too many, and not of one request alone.
        """
        self._size_bytes += size_bytes
        if self._is_over(0) and self._reading + self._whole > 1:
            raise self._busy()

    def complete(self) -> None:
        """Count a request whose body is whole.

        Raises:
            WorkerBusy: there are too many.
        """
        if self._is_full:
            raise self._busy()
        self._reading -= 1
        self._whole += 1

    @property
    def _is_full(self) -> bool:
        most = self._limits.requests()
        return self._whole >= most or self._reading >= _READING_TIMES * most

    def _is_over(self, size_bytes: int) -> bool:
        alone = self._reading + self._whole == 0
        return not alone and self._size_bytes + size_bytes > self._limits.size_bytes

    def _busy(self) -> WorkerBusy:
        return WorkerBusy(
            f"The worker answers {self._whole} requests at the moment, of "
            f"{self._limits.requests()}, and holds {self._size_bytes} bytes of bodies, of "
            f"{self._limits.size_bytes}. Send it again after the time in Retry-After."
        )

    def _timed(self, send: Send) -> Send:
        """Return a ``send`` that says in an answer with 429 when to come again."""

        async def timed(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 429:
                MutableHeaders(scope=message).setdefault("retry-after", str(self._wait_s()))
            await send(message)

        return timed

    def _wait_s(self) -> int:
        """Return the time in which half of the requests are answered, at the pace of late."""
        if len(self._ends) < 2:
            return math.ceil(_UNKNOWN_S)
        pace = len(self._ends) / max(0.001, time.monotonic() - self._ends[0])
        return math.ceil(min(_LONGEST_S, max(1.0, self._whole / 2 / pace)))


class _Place:
    """A request within the bound."""

    def __init__(self, crowd: Crowd, receive: Receive) -> None:
        self._crowd = crowd
        self._receive = receive
        self.whole = False
        self.size_bytes = 0

    async def receive(self) -> Message:
        """Receive the next message; raises where the worker has become too busy meanwhile."""
        message = await self._receive()
        if message["type"] == "http.request" and not self.whole:
            count = len(message.get("body", b""))
            self.size_bytes += count
            self._crowd.add(count)
            if not message.get("more_body", False):
                self._crowd.complete()
                self.whole = True
        return message


def _declared(scope: Scope) -> int:
    """Return the length of the body by its header, 0 without one."""
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 16 else 0

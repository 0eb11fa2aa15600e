"""Fault injection: what a platform may do to a worker's requests, for tests of workers."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_POSTS = ("/job-done/", "/job-stream/")
_POLLS = ("/job-take/", "/job-take-batch/")
_OTHERS = ("/job-stop/", "/ping/")


@dataclass
class Faults:
    """The faults to inject; may be changed while the platform runs.

    Attributes:
        share: the share of posts that are dropped, refused or slow, in equal parts.
        slow_s: the duration of a slow post, in seconds.
        away: whether every connection of a worker is cut.
        busy: how many of the next polls are answered with 429.
        lost_takes: how many of the next answers with jobs are lost.
        lost_stops: how many of the next answers with stops are lost.
        retry_after_s: the ``Retry-After`` of the 429 answers, None = no such header.
        seed: the seed of the random choice of faults.
        happened: how often each fault has occurred.
    """

    share: float = 0.0
    slow_s: float = 5.0
    away: bool = False
    busy: int = 0
    lost_takes: int = 0
    lost_stops: int = 0
    retry_after_s: int | None = None
    seed: int = 1
    happened: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        """Seed the random generator."""
        self._chance = random.Random(self.seed)

    def next(self, path: str) -> str | None:
        """Return the fault for a request to ``path``; None = no fault."""
        kind = self._kind(path)
        if kind is not None and not kind.startswith("lost"):  # counted when an answer is lost
            self.happened[kind] += 1
        return kind

    def _kind(self, path: str) -> str | None:
        if self.away and any(part in path for part in (*_POSTS, *_POLLS, *_OTHERS)):
            return "away"
        if self.busy and any(part in path for part in _POLLS):
            self.busy -= 1
            return "busy"
        if self.lost_takes and any(part in path for part in _POLLS):
            return "lost take"
        if self.lost_stops and "/job-stop/" in path:
            return "lost stop"
        if any(part in path for part in _POSTS) and self._chance.random() < self.share:
            return self._chance.choice(("drop", "drop after", "500", "502", "slow"))
        return None


class Faulty:
    """The platform with faults. The server must call it directly: it cuts connections."""

    def __init__(self, application: ASGIApp, faults: Faults) -> None:
        self._application = application
        self._faults = faults

    async def __call__(  # noqa: D102 - ASGI
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        kind = self._faults.next(scope["path"]) if scope["type"] == "http" else None
        if kind in {"500", "502"}:
            await Response(status_code=int(kind))(scope, receive, send)
        elif kind == "busy":
            await self._busy()(scope, receive, send)
        elif kind in {"away", "drop"}:
            await _cut(send)
        elif kind in {"lost take", "lost stop"}:
            await self._lose(kind, scope, receive, send)
        elif kind == "drop after":  # received, but the answer is lost: the worker sends it again
            await self._application(scope, receive, _nowhere)
            await _cut(send)
        else:
            if kind == "slow":
                await asyncio.sleep(self._faults.slow_s)
            await self._application(scope, receive, send)

    async def _lose(self, kind: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Lose an answer that has content; pass on one without."""
        answer: list[Message] = []

        async def keep(message: Message) -> None:
            answer.append(message)

        await self._application(scope, receive, keep)
        name = kind.replace(" ", "_") + "s"  # lost_takes, lost_stops
        if answer[0]["status"] != 200 or not getattr(self._faults, name):
            for message in answer:
                await send(message)
            return
        setattr(self._faults, name, getattr(self._faults, name) - 1)
        self._faults.happened[kind] += 1
        await _cut(send)

    def _busy(self) -> Response:
        wait_s = self._faults.retry_after_s
        headers = {} if wait_s is None else {"Retry-After": str(wait_s)}
        return Response(status_code=429, headers=headers)


async def _nowhere(message: Message) -> None:
    """Discard an answer."""


async def _cut(send: Send) -> None:
    """Reset the connection: uvicorn's ``send`` is a method of the object with the transport."""
    transport = getattr(getattr(send, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("this server's connections cannot be cut")
    transport.abort()
    await asyncio.sleep(0)  # lets uvicorn note that the connection is closed

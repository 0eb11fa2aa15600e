"""Answers to the platform: delivered, or known to be lost.

The SDK tries a result three times within seconds and drops it then. Here a post that fails by its
connection, by time or by the platform's own fault is tried again, with growing pauses, until the
job's time on the platform is over, or for some while when the worker ends. A refusal is final. A
result waits as the bytes that are sent; its job's slot is free meanwhile. A chunk of a stream is
waited for, as its order matters, and so it is tried for a few seconds only; an update once. Time in
which this process is stopped (SIGSTOP, a frozen container) does not count: after it each post has
one more try.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from handler.doors.queue.backoff import FIRST_S, Pauses, asked_for_s
from handler.wire import Encoded

log = logging.getLogger(__name__)

_A_RESULT_BYTES = 4096  # what one costs besides its content
_AT_ONCE = 64  # results under way
_UPDATE_S = 2.0  # how long an update is tried; a result waits for it
_TIMEOUT_S, _CONNECT_S = 120.0, 10.0  # of one try
_STOPPED_S = 2.0  # a wait that lasts so much longer than asked for: the process was stopped
_TRY_AGAIN = frozenset({408, 425, 429})  # of the 4xx, those that say so


@dataclass(frozen=True)
class Patience:
    """How long posts are tried, and how much may wait.

    Attributes:
        waiting_bytes: no job is taken while results of more than this wait.
        drain_s: how long after SIGTERM a result is tried.
        chunk_s: how long a chunk is tried.
        least_s: for a try, however late it is.
        first_pause_s: between the first two tries.
    """

    waiting_bytes: int = 128 * 1024 * 1024
    drain_s: float = 30.0
    chunk_s: float = 10.0
    least_s: float = 5.0
    first_pause_s: float = FIRST_S


@dataclass(frozen=True)
class _Failure:
    """Why a post was not taken.

    Attributes:
        reason: for the log.
        final: whether another try could not help.
        wait_s: how long the platform wants to be left alone, None where it does not say.
    """

    reason: str
    final: bool = False
    wait_s: float | None = None


@dataclass(frozen=True)
class Post:
    """A post for a job, and its deadline by ``time.monotonic``.

    Attributes:
        headers: sent beside those that every post has.
    """

    session: ClientSession
    job_id: str
    url: str
    content: bytes
    deadline: float
    headers: Mapping[str, str] = field(default_factory=dict)


class Delivery:
    """Posts results and chunks of streams.

    Args:
        delivered: called when a job's result is there, or lost.
        patience: how long posts are tried.
    """

    def __init__(self, delivered: Callable[[str], None], patience: Patience | None = None) -> None:
        self._patience = patience or Patience()
        self._delivered = delivered
        self._tasks: set[asyncio.Task[bool]] = set()
        self._waiting: Counter[str] = Counter()
        self._waiting_bytes = 0
        self._closing_at: float | None = None
        self._closing = asyncio.Event()
        self._results = asyncio.Semaphore(_AT_ONCE)

    def __contains__(self, job_id: str) -> bool:
        """Whether a result of this job is on its way."""
        return job_id in self._waiting

    @property
    def has_room(self) -> bool:
        """Whether little enough waits that another job may be taken."""
        return self._waiting_bytes < self._patience.waiting_bytes

    def result(self, post: Post) -> None:
        """Bring a job's result to the platform; it is not waited for."""
        cost, job_id = len(post.content) + _A_RESULT_BYTES, post.job_id
        self._waiting[job_id] += 1
        self._waiting_bytes += cost
        task = asyncio.create_task(self._bring("result", post, self._results))
        self._tasks.add(task)

        def over(_: object) -> None:
            self._tasks.discard(task)
            self._waiting_bytes -= cost
            self._waiting[job_id] -= 1
            if not self._waiting[job_id]:
                del self._waiting[job_id]
            self._delivered(job_id)

        task.add_done_callback(over)

    async def chunk(self, post: Post) -> bool:
        """Bring a piece of a job's stream to the platform; says whether it is there.

        The job waits for it, so that it is not tried for long.
        """
        soon = min(post.deadline, time.monotonic() + self._patience.chunk_s)
        return await self._bring("chunk", replace(post, deadline=soon), nullcontext())

    async def update(self, post: Post) -> None:
        """Bring word of a job's progress to the platform; a lost one is no loss."""
        failure = await _try(post, _UPDATE_S)
        if failure is not None:
            log.info("an update was not taken: %s", failure.reason, extra={"job_id": post.job_id})

    async def _bring(self, what: str, post: Post, turn: AbstractAsyncContextManager[None]) -> bool:
        """Post until it is taken, or lost; each try waits for its turn."""
        pauses, size = Pauses(first_s=self._patience.first_pause_s), len(post.content)
        known = {"job_id": post.job_id}
        while True:
            async with turn:
                limit_s, begin = max(self._patience.least_s, self._left_s(post)), time.monotonic()
                failure = await _try(post, limit_s)
            if failure is None:
                return True
            post = _without_stop(post, begin, min(limit_s, _TIMEOUT_S))
            if failure.final or not self._left_s(post):
                log.error("a %s of %d bytes is lost: %s", what, size, failure.reason, extra=known)
                return False
            pause_s = max(pauses.grow(), failure.wait_s or 0.0)
            log.warning(
                "a %s of %d bytes was not taken (%s); again in %.1f s",
                what, size, failure.reason, pause_s, extra=known,
            )  # fmt: skip
            pause_s, begin = min(pause_s, self._left_s(post)), time.monotonic()
            await self._pause(pause_s)
            post = _without_stop(post, begin, pause_s)

    async def close(self) -> None:
        """Wait for what is on its way; it is tried for a while only."""
        self._closing_at = time.monotonic() + self._patience.drain_s
        self._closing.set()
        if not self._tasks:
            return
        _, late = await asyncio.wait(
            self._tasks, timeout=self._patience.drain_s + self._patience.least_s
        )
        for task in late:  # in a try that began before, and goes on
            task.cancel()
        if late:
            log.error("%d results are lost: the worker ends", len(late))

    def _left_s(self, post: Post) -> float:
        """For how long it is still tried."""
        end = post.deadline if self._closing_at is None else min(post.deadline, self._closing_at)
        return max(0.0, end - time.monotonic())

    async def _pause(self, pause_s: float) -> None:
        """Wait; when the worker is told to stop, no longer."""
        if self._closing.is_set():
            await asyncio.sleep(pause_s)
            return
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait({closing}, timeout=pause_s)
        closing.cancel()


def _without_stop(post: Post, begin: float, limit_s: float) -> Post:
    """Return the post with a later deadline, where a wait shows that the process was stopped.

    Args:
        post: what is waited for.
        begin: when the wait began.
        limit_s: how long it lasts at most in a process that runs.
    """
    stopped_s = time.monotonic() - begin - limit_s
    if stopped_s < _STOPPED_S:
        return post
    return replace(post, deadline=post.deadline + stopped_s)


async def _try(post: Post, timeout_s: float) -> _Failure | None:
    """Post once; None when it is taken."""
    headers = {
        **post.headers,
        # The SDK writes this one into the headers that all requests share.
        "X-Request-ID": post.job_id,
        "charset": "utf-8",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    timeout = ClientTimeout(total=min(timeout_s, _TIMEOUT_S), sock_connect=_CONNECT_S)
    try:
        async with post.session.post(
            post.url, data=post.content, headers=headers, timeout=timeout
        ) as answer:
            await answer.read()
    except (ClientError, OSError, TimeoutError) as error:  # a message would name the address
        return _Failure(type(error).__name__)
    if answer.status < 400:
        return None
    final = answer.status < 500 and answer.status not in _TRY_AGAIN
    return _Failure(f"status {answer.status}", final, asked_for_s(answer.headers))


def encoded(result: Mapping[str, Any]) -> bytes:
    """A result of the SDK, ``{"output": …}`` and perhaps more, as JSON.

    An answer of ours is JSON already, and not looked through again; so are the events of a list.
    """
    output, others = result.get("output"), dict(result)
    if isinstance(output, list) and all(isinstance(event, Encoded) for event in output):
        output = Encoded(b"[" + b", ".join(event.content for event in output) + b"]")
    if not isinstance(output, Encoded):
        return json.dumps(result, ensure_ascii=False).encode()
    del others["output"]
    rest = json.dumps(others, ensure_ascii=False).encode()[1:]
    return b'{"output": ' + output.content + (b", " if others else b"") + rest

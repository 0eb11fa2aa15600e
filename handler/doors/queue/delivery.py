"""Answers to the platform: delivered, or known to be lost.

The SDK tries a result three times within seconds and drops it then. Here a post that fails by its
connection, by time or by the platform's own fault is tried again, with growing pauses, until the
job's time on the platform is over, or some while after the worker was told to stop. A refusal is
final. A result waits as the bytes that are sent; its job's slot is free meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout

from handler.doors.queue.pauses import Pauses, asked_for_s
from handler.wire import Encoded

log = logging.getLogger(__name__)

_WAITING_BYTES = 128 * 1024 * 1024  # no job is taken while results of more than this wait
_A_RESULT_BYTES = 4096  # what one costs besides its content
_AT_ONCE = 64  # results under way
_DRAIN_S = 30.0  # how long after SIGTERM a result is tried
_TIMEOUT = ClientTimeout(total=120, sock_connect=10)
_TRY_AGAIN = frozenset({408, 425, 429})  # of the 4xx, those that say so


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


class Delivery:
    """Posts results and chunks of streams.

    Args:
        deadline: by when a job's answer must be there, by ``time.monotonic``.
        delivered: called when a job's result is there, or lost.
    """

    def __init__(self, deadline: Callable[[str], float], delivered: Callable[[str], None]) -> None:
        self._deadline = deadline
        self._delivered = delivered
        self._tasks: set[asyncio.Task[None]] = set()
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
        return self._waiting_bytes < _WAITING_BYTES

    def result(self, session: ClientSession, job_id: str, url: str, content: bytes) -> None:
        """Bring a job's result to the platform; it is not waited for."""
        cost = len(content) + _A_RESULT_BYTES
        self._waiting[job_id] += 1
        self._waiting_bytes += cost
        task = asyncio.create_task(self.post(session, job_id, url, content, self._results))
        self._tasks.add(task)

        def over(_: object) -> None:
            self._tasks.discard(task)
            self._waiting_bytes -= cost
            self._waiting[job_id] -= 1
            if not self._waiting[job_id]:
                del self._waiting[job_id]
            self._delivered(job_id)

        task.add_done_callback(over)

    async def post(
        self,
        session: ClientSession,
        job_id: str,
        url: str,
        content: bytes,
        turn: AbstractAsyncContextManager[None] | None = None,
    ) -> None:
        """Post until it is taken, or lost; each try waits for its turn."""
        pauses, deadline = Pauses(), self._deadline(job_id)
        while True:
            async with turn or nullcontext():
                failure = await _try(session, job_id, url, content)
            if failure is None:
                return
            if failure.final or time.monotonic() >= self._ends(deadline):
                log.error(
                    "a result of %d bytes is lost: %s", len(content), failure.reason,
                    extra={"job_id": job_id},
                )  # fmt: skip
                return
            pause_s = pauses.grow() if failure.wait_s is None else failure.wait_s
            log.warning(
                "a result of %d bytes was not taken (%s); again in %.1f s",
                len(content), failure.reason, pause_s, extra={"job_id": job_id},
            )  # fmt: skip
            await self._pause(pause_s, deadline)

    async def close(self) -> None:
        """Wait for what is on its way; it is tried for a while only."""
        self._closing_at = time.monotonic() + _DRAIN_S
        self._closing.set()
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _ends(self, deadline: float) -> float:
        return deadline if self._closing_at is None else min(deadline, self._closing_at)

    async def _pause(self, pause_s: float, deadline: float) -> None:
        """Wait, no longer than to the end; when the worker is told to stop, no longer at all."""
        left_s = min(pause_s, max(0.0, self._ends(deadline) - time.monotonic()))
        if self._closing.is_set():
            await asyncio.sleep(left_s)
            return
        closing = asyncio.ensure_future(self._closing.wait())
        await asyncio.wait({closing}, timeout=left_s)
        closing.cancel()


async def _try(session: ClientSession, job_id: str, url: str, content: bytes) -> _Failure | None:
    """Post once; None when it is taken."""
    headers = {
        # The SDK writes this one into the headers that all requests share.
        "X-Request-ID": job_id,
        "charset": "utf-8",
        "Content-Type": "application/x-www-form-urlencoded",
    }
    try:
        async with session.post(url, data=content, headers=headers, timeout=_TIMEOUT) as answer:
            await answer.read()
    except (ClientError, OSError, TimeoutError) as error:  # a message would name the address
        return _Failure(type(error).__name__)
    if answer.status < 400:
        return None
    final = answer.status < 500 and answer.status not in _TRY_AGAIN
    return _Failure(f"status {answer.status}", final, asked_for_s(answer.headers))


def encoded(result: Mapping[str, Any]) -> bytes:
    """A result of the SDK, ``{"output": …}`` and perhaps more, as JSON.

    An answer of ours is JSON already, and not looked through again.
    """
    output, others = result.get("output"), dict(result)
    if not isinstance(output, Encoded):
        return json.dumps(result, ensure_ascii=False).encode()
    del others["output"]
    rest = json.dumps(others, ensure_ascii=False).encode()[1:]
    return b'{"output": ' + output.content + (b", " if others else b"") + rest

"""The two polls of a worker, and what they tell the platform.

Each poll is the SDK's own request with headers added. The local platform reads them; RunPod does
not know them and ignores them.

    X-Poll         a number that grows from poll to poll: an older poll that arrives late counts not
    X-Runs         the runs that the worker has, by the ``runId`` that came with each job
    X-Stops-Seen   the last answer of the stop channel that arrived here, by its ``X-Stops``
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from aiohttp import ClientResponse, ClientResponseError, ClientSession
from runpod.http_client import TooManyRequests

from handler.doors.queue.backoff import Pauses, asked_for_s

log = logging.getLogger(__name__)

_STOP_PAUSE_S = 2.0  # at most, after a poll of the stop channel that failed
REFUSED_S = 60.0  # how long a worker is refused before it ends
UNREACHED_S = 900.0  # how long it does not reach the platform before it ends
_REFUSALS = frozenset({401, 403, 404, 410})


class TakePoll:
    """A session for one poll for jobs, which notes how long the platform wants to be left alone.

    Args:
        session: makes the request.
        runs: those that the worker has; None = the platform numbers none.
    """

    def __init__(self, session: ClientSession, runs: Iterable[int] | None = None) -> None:
        self.wait_s: float | None = None
        self._session = session
        self.headers = {"X-Poll": str(time.monotonic_ns())}
        if runs is not None:
            self.headers["X-Runs"] = ",".join(map(str, runs))

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[ClientResponse]:
        """As aiohttp's."""
        async with self._session.get(url, headers=self.headers) as response:
            self.wait_s = asked_for_s(response.headers)
            yield response


class StopPolls:
    """A session for the polls of the stop channel, which says what arrived."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session
        self._seen = "0"

    @asynccontextmanager
    async def get(self, url: str) -> AsyncIterator[ClientResponse]:
        """As aiohttp's."""
        async with self._session.get(url, headers={"X-Stops-Seen": self._seen}) as response:
            yield response
            self._seen = response.headers.get("X-Stops", self._seen)  # its body was read


class Absence:
    """For how long the platform has not had this worker, or has not been there.

    Args:
        refused_s: how long it may refuse every poll.
        unreached_s: how long it may not answer any.

    Attributes:
        over: whether that was too long, and the worker ends.
    """

    def __init__(self, refused_s: float = REFUSED_S, unreached_s: float = UNREACHED_S) -> None:
        self.over = False
        self._limits_s = {"refuses this worker": refused_s, "is not reached": unreached_s}
        self._since: dict[str, float] = {}

    def end(self) -> None:
        """The platform answered."""
        self._since.clear()

    def note(self, error: Exception) -> str | None:
        """Note a poll that failed; returns why the worker is to end, None while it is not."""
        is_refusal = isinstance(error, ClientResponseError) and error.status in _REFUSALS
        kind = "refuses this worker" if is_refusal else "is not reached"
        since = self._since.get(kind, time.monotonic())
        self._since = {kind: since}
        limit_s = self._limits_s[kind]
        past_s = time.monotonic() - since
        self.over = past_s >= limit_s
        return f"the platform {kind} for {past_s:.0f} s" if self.over else None


class OpenPoll:
    """The poll for jobs that is open now, whose end can be brought forward."""

    def __init__(self) -> None:
        self._timeout: asyncio.Timeout | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def within(self, seconds: float) -> AsyncIterator[None]:
        """Hold a poll open for so long at most.

        Raises:
            TimeoutError: it was not answered by then.
        """
        self._loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds) as self._timeout:
            yield

    def close_in(self, seconds: float) -> None:
        """Let the open poll, if there is one, last so long at most."""
        if self._timeout is None or self._loop is None:
            return
        ends = self._loop.time() + seconds
        with suppress(RuntimeError):  # it is over
            self._timeout.reschedule(min(ends, self._timeout.when() or ends))


class StopFetcher:
    """The SDK's fetcher of stops; a platform that is away is one line of the log.

    Args:
        fetch: the SDK's.
    """

    def __init__(self, fetch: Callable[[Any], Awaitable[list[str]]]) -> None:
        self._fetch = fetch
        self._pauses = Pauses()

    async def __call__(self, polls: StopPolls) -> list[str]:
        """Return the ids of jobs to stop; none, after a pause, where the platform is away.

        Raises:
            TooManyRequests: the platform wants to be asked less.
        """
        try:
            stops = await self._fetch(polls)
        except TooManyRequests:
            raise
        except Exception as error:  # the SDK would log it, with the address
            if not self._pauses.growing:
                log.warning("the stop channel fails (%s); it is tried again", type(error).__name__)
            await asyncio.sleep(min(self._pauses.grow(), _STOP_PAUSE_S))
            return []
        self._pauses.end()
        return stops

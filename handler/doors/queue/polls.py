"""The two polls of a worker, and what they tell the platform.

Each poll is the SDK's own request with headers added. The local platform reads them; RunPod does
not know them and ignores them.

    X-Poll         a number that grows from poll to poll: an older poll that arrives late counts not
    X-Runs         the runs that the worker has, by the ``runId`` that came with each job
    X-Stops-Seen   the last answer of the stop channel that arrived here, by its ``X-Stops``
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import ClientResponse, ClientResponseError, ClientSession

from handler.doors.queue.pauses import asked_for_s

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

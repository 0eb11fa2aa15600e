"""Jobs that were taken, and those that a stop may name before or after."""

from __future__ import annotations

import time
from typing import Any

from handler.entry import Worker
from handler.wire import Encoded

_REMEMBERED = 1000


class Taken(dict[str, Any]):
    """The platform's own words of a job, as the SDK hands them around, and what is known of it.

    Attributes:
        job: what ``Worker`` made of them.
        deadline: by when its answer must be there, by ``time.monotonic``.
        broken: whether a chunk of its stream is lost.
        whole: the answer that its stream makes up, once it is there.
    """

    def __init__(self, raw: dict[str, Any], worker: Worker) -> None:
        super().__init__(raw)
        self.job = worker.accept(raw)
        self.deadline = time.monotonic() + self.job.timeout_s
        self.broken = False
        self.whole: Encoded | None = None

    def keep(self, whole: Encoded) -> None:
        """Note the answer that the job's stream makes up."""
        self.whole = whole


class Recent:
    """The job ids of late, the oldest forgotten."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, job_id: str) -> bool:
        """Whether this id is remembered."""
        return job_id in self._ids

    def add(self, job_id: str) -> None:
        """Remember an id."""
        self._ids[job_id] = None
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def discard(self, job_id: str) -> bool:
        """Forget an id; says whether it was known."""
        return self._ids.pop(job_id, self) is None

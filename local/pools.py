"""Scaling: each endpoint has its own workers, as many as its rule requires.

``Workers`` keeps each of them running, and stops idle ones. ``local/queue/scale.py`` determines
their number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from local.process import WorkerDied
from local.processes import Workers
from local.queue.endpoints import EVERYTHING
from local.queue.platform import Platform
from local.queue.scale import Load, Scale
from local.queue.workers import Worker

_LOOK_S = 0.1


class Pool:
    """The workers of one endpoint.

    Args:
        platform: the platform whose jobs they process.
        workers: starts and stops them.
        endpoint: the endpoint's name.
        scale: determines their number.
        say: prints a line.
    """

    def __init__(
        self,
        platform: Platform,
        workers: Workers,
        endpoint: str,
        scale: Scale,
        say: Callable[[str], None],
    ) -> None:
        self._platform = platform
        self._workers = workers
        self._endpoint = endpoint
        self._scale = scale
        self._say = say
        # A task per worker, which also restarts it: a worker that died at its start is not missing
        # here, and is not replaced at once.
        self._places: set[asyncio.Task[None]] = set()

    @property
    def least(self) -> int:
        """The number of workers that always run."""
        return self._scale.min_workers

    async def keep(self) -> None:
        """Adjust the number of workers to the load until ``Workers.stop``.

        Raises:
            WorkerDied: a worker ended before it took a job, and so would the next.
        """
        try:
            while not self._workers.stopping:
                self._adjust()
                await asyncio.sleep(_LOOK_S)
                ended = {place for place in self._places if place.done()}
                self._places -= ended
                await asyncio.gather(*ended)
            await asyncio.gather(*self._places)
        except WorkerDied:
            # Only one error is raised; without this, asyncio would log those of the others.
            asyncio.gather(*self._places, return_exceptions=True)
            raise

    def _adjust(self) -> None:
        """Start missing workers, and stop superfluous idle ones."""
        count = len(self._places) - self._workers.retiring(self._endpoint)
        wanted = self._scale.wanted(self._load())
        for number in range(count + 1, wanted + 1):
            self._say(f"{self._endpoint}: scaled up to {number}")
            self._places.add(asyncio.create_task(self._workers.keep(self._endpoint)))
        for worker in self._idle()[: max(0, count - wanted)]:
            count -= 1
            self._say(f"{self._endpoint}: {worker.id} is idle; scaled down to {count}")
            self._workers.retire(worker)

    def _load(self) -> Load:
        queue, mine = self._platform.queues.endpoints[self._endpoint].queue, self._mine()
        return Load(
            waits_s=[_now() - job.queued for job in queue],
            in_progress=sum(len(worker.jobs) for worker in mine),
            busy=sum(bool(worker.jobs) for worker in mine),
        )

    def _idle(self) -> list[Worker]:
        """Return the workers that have been idle for the idle timeout, the longest first."""
        until = _now() - self._scale.idle_timeout_s
        ready = [worker for worker in self._mine() if worker.taking and not worker.leaving]
        idle = [worker for worker in ready if not worker.jobs and worker.idle_since <= until]
        return sorted(idle, key=lambda worker: worker.idle_since)

    def _mine(self) -> list[Worker]:
        workers = self._platform.workers.values()
        return [worker for worker in workers if worker.endpoint == self._endpoint]


def pools(
    platform: Platform, workers: Workers, scale: Scale, say: Callable[[str], None]
) -> list[Pool]:
    """Return a pool per endpoint; that of ``all``, which no gateway has, may have no worker."""
    on_demand = replace(scale, min_workers=0)
    return [
        Pool(platform, workers, name, on_demand if name == EVERYTHING else scale, say)
        for name in platform.served
    ]


def _now() -> float:
    return asyncio.get_running_loop().time()

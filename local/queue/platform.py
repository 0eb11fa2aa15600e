"""Workers on one side of the queues: who they are, what they take, and what they answer.

A job belongs to the worker that took it; only that worker's answer counts, and only once. All of it
lives in one event loop, so that every method that does not wait is atomic.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterator
from itertools import count, islice

from local.queue.answers import Answers
from local.queue.endpoints import EVERYTHING, Endpoints
from local.queue.jobs import Job, Status
from local.queue.limits import Limits
from local.queue.queues import Queues
from local.queue.workers import Report, Taker, Worker

log = logging.getLogger(__name__)


class Platform:
    """Queues, and the workers that serve them.

    Args:
        endpoints: what there is to serve.
        limits: the platform's numbers.
    """

    def __init__(self, endpoints: Endpoints, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self.endpoints = endpoints
        self.served = endpoints.served
        self.queues = Queues(self.served, self.limits, self._on_change)
        self.answers = Answers(self.queues, self.limits, self.dismiss)
        self.workers: dict[str, Worker] = {}
        self.draining = False
        self.workers_changed = asyncio.Event()
        self._takers: list[Taker] = []
        self._stop_numbers = count(1)
        self._lost: dict[str, list[str]] = {}  # what a lost worker had, by its id

    def worker(self, endpoint_id: str, worker_id: str, *, joins: bool = False) -> Worker:
        """The worker of that id, which has just been heard of.

        One that is not known joins only with a poll: a ping may come from a process that outlives
        its worker.
        """
        worker = self.workers.get(worker_id) or Worker(worker_id, endpoint_id, _now())
        worker.seen = _now()
        if joins and worker_id not in self.workers:
            self.workers[worker_id] = worker
            # One that was taken for lost, and was frozen, still runs what others have now.
            worker.stops = self._lost.pop(worker_id, [])
            worker.barred.update(worker.stops)
        return worker

    async def take(self, worker: Worker, count: int) -> list[Job]:
        """Hand out up to ``count`` jobs, waiting for the first as long as a poll is held."""
        if not worker.taking:
            worker.taking, worker.idle_since = True, _now()
            self._announce()
        taker = Taker(worker)
        self._takers.append(taker)
        try:
            async with asyncio.timeout(self.limits.poll_s):
                while not (self.draining or taker.over):
                    if jobs := self._hand_out(worker, count):
                        return jobs
                    taker.woken.clear()
                    await taker.woken.wait()
                    if worker.leaving:  # its next polls are held: it would ask without a pause
                        break
        except TimeoutError:
            pass
        finally:
            self._takers.remove(taker)
            self._wake_one()  # what this poll was woken for and left
        return []

    async def stops(self, worker: Worker, seen: int | None = None) -> list[str]:
        """The jobs that a worker is to stop, waiting for the first as long as a poll is held.

        Args:
            worker: it asks.
            seen: the number of the last answer that reached it; what others held is handed out
                again. None = it does not say, and an answer counts as seen.
        """
        number, sent = worker.stops_sent
        if seen is not None and seen == number:
            self._acknowledge(worker, sent)
        try:
            async with asyncio.timeout(self.limits.poll_s):
                while not (worker.stops or self.draining or worker.leaving):
                    worker.told.clear()
                    await worker.told.wait()
        except TimeoutError:
            pass
        stops = list(worker.stops)
        worker.stops_sent = (next(self._stop_numbers), stops)
        if seen is None:
            self._acknowledge(worker, stops)
        return stops

    def _acknowledge(self, worker: Worker, stops: list[str]) -> None:
        """A worker knows what it is to stop, and may have these jobs again once it has let go."""
        worker.stops = [job_id for job_id in worker.stops if job_id not in stops]
        worker.stops_sent = (0, [])
        asyncio.get_running_loop().call_later(self.limits.letting_go_s, self._unbar, worker, stops)

    def report(self, worker: Worker, report: Report) -> bool:
        """Put back what a worker was given and does not have; says whether its poll is the newest.

        A job is missing where the answer that brought it was lost, where its result could not be
        delivered, and where the worker is another process under the same id. An old poll may arrive
        late; what it says is no longer so.
        """
        if report.poll is not None:
            if report.poll < worker.poll:
                return False
            worker.poll = report.poll
            for taker in self._takers:
                if taker.worker is worker:
                    taker.over = True
                    taker.woken.set()
        if report.runs is not None:
            missing = [job for job in worker.jobs.values() if job.run not in report.runs]
            self._put_back(worker, missing, "does not have what it was given", arrived=False)
        elif report.idle:
            self._put_back(worker, list(worker.jobs.values()), "asks for jobs with none in hand")
        return True

    def dismiss(self, worker: Worker) -> None:
        """Give a worker no more jobs; its polls are answered at once."""
        worker.leaving = True
        worker.told.set()
        for taker in self._takers:
            taker.woken.set()
        self._announce()

    def drain(self) -> int:
        """Hand out no more jobs to anybody, and give up on those that wait; returns how many."""
        self.draining = True
        for worker in self.workers.values():
            self.dismiss(worker)
        return sum(self.queues.purge(name) for name in self.queues.endpoints)

    @property
    def in_flight(self) -> int:
        """How many jobs are with workers."""
        return sum(len(worker.jobs) for worker in self.workers.values())

    def serves(self, worker: Worker) -> tuple[str, ...]:
        """The endpoints whose jobs a worker takes."""
        if worker.endpoint == EVERYTHING and not self.endpoints.apart:
            return tuple(self.queues.endpoints)
        return (worker.endpoint,)

    def gone(self, worker: Worker, why: str) -> None:
        """Forget a worker that ended, and put back what it had."""
        if self.workers.get(worker.id) is worker:
            del self.workers[worker.id]
        if worker.jobs:
            self._lost[worker.id] = list(worker.jobs)
        self._put_back(worker, list(worker.jobs.values()), why)
        self._announce()

    def _hand_out(self, worker: Worker, count: int) -> list[Job]:
        """The oldest jobs that this worker serves, and no more than its share of them.

        Without shares the first of several idle workers would take all. A stopped job that is
        retried waits until the worker has let go of it: it tells jobs apart by their id alone.
        """
        if worker.leaving:
            return []
        rivals = [taker.worker for taker in self._takers if not taker.worker.leaving]
        competing = sum(any(self._waiting(rival)) for rival in rivals)
        share = math.ceil(self.queues.depth(self.serves(worker)) / max(1, competing))
        jobs = list(islice(self._waiting(worker), min(count, share)))
        for job in jobs:
            self.queues.assign(job, worker.id)
        return jobs

    def _put_back(self, worker: Worker, jobs: list[Job], why: str, *, arrived: bool = True) -> None:
        """Queue jobs of a worker again, in the order they had."""
        if not jobs:
            return
        log.warning("%s %s: %d of its jobs are queued again", worker.id, why, len(jobs))
        for job in jobs:
            del worker.jobs[job.id]
        worker.idle_since = _now()
        for job in sorted(jobs, key=lambda job: job.submitted, reverse=True):
            self.queues.put_back(job, arrived=arrived)

    def _waiting(self, worker: Worker) -> Iterator[Job]:
        jobs = self.queues.waiting(self.serves(worker))
        return (job for job in jobs if job.id not in worker.barred)

    def _on_change(self, job: Job, was: Status | None) -> None:
        """Keep the workers' side in step with a job's state."""
        worker = self.workers.get(job.worker or "")
        if job.status is Status.IN_PROGRESS and worker is not None:
            worker.jobs[job.id] = job
        if was is Status.IN_PROGRESS and worker is not None:
            worker.jobs.pop(job.id, None)
            worker.idle_since = _now()
            if job.status in {Status.CANCELLED, Status.TIMED_OUT}:
                worker.stops.append(job.id)
                worker.barred.add(job.id)
                worker.told.set()
        if job.status is Status.IN_QUEUE:
            self._wake_one()

    def _unbar(self, worker: Worker, job_ids: list[str]) -> None:
        worker.barred.difference_update(job_ids)
        self._wake_one()

    def _wake_one(self) -> None:
        for taker in self._takers:
            if not taker.woken.is_set() and any(self._waiting(taker.worker)):
                taker.woken.set()
                return

    def _announce(self) -> None:
        self.workers_changed.set()
        self.workers_changed = asyncio.Event()


def _now() -> float:
    return asyncio.get_running_loop().time()

"""Assigns jobs to workers, and keeps track of the workers.

A job belongs to the worker that took it; only that worker's answer counts, and only once.
Everything runs in one event loop, so every method that does not wait is atomic.
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
from local.queue.state import State
from local.queue.workers import Report, Taker, Worker

log = logging.getLogger(__name__)


class Platform:
    """Queues, and the workers that serve them.

    Args:
        endpoints: the endpoints.
        limits: the platform's limits.
        state: keeps the jobs in a file; None = they are kept in memory alone.
    """

    def __init__(
        self, endpoints: Endpoints, limits: Limits | None = None, state: State | None = None
    ) -> None:
        self.limits = limits or Limits()
        self.endpoints = endpoints
        self.served = endpoints.served
        self.queues = Queues(self.served, self.limits, self._on_change, state)
        self.answers = Answers(self.queues, self.limits, self.dismiss)
        self.workers: dict[str, Worker] = {}
        self.draining = False
        self._keeps_jobs = state is not None
        self.workers_changed = asyncio.Event()
        self._takers: list[Taker] = []
        self._stop_numbers = count(1)
        self._lost: dict[str, list[str]] = {}  # the jobs of lost workers, by worker id

    def restore(self) -> list[Job]:
        """Take the jobs of the state file over, and return them.

        Workers that still run some of them are to stop these, as they are queued again.
        """
        jobs, self._lost = self.queues.restore()
        return jobs

    def worker(self, endpoint_id: str, worker_id: str, *, joins: bool = False) -> Worker:
        """Return the worker with an id, and note that it is alive.

        An unknown worker joins only with a poll: a ping may come from a process that outlives its
        worker.
        """
        worker = self.workers.get(worker_id) or Worker(worker_id, endpoint_id, _now())
        worker.seen = _now()
        if joins and worker_id not in self.workers:
            self.workers[worker_id] = worker
            # A worker that was frozen and counted as lost still runs jobs that others have now.
            worker.stops = self._lost.pop(worker_id, [])
            worker.barred.update(worker.stops)
        return worker

    async def take(self, worker: Worker, count: int) -> list[Job]:
        """Return up to ``count`` jobs; wait for the first as long as a poll is held."""
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
                    if worker.leaving:  # hold its further polls: it would poll without a pause
                        break
        except TimeoutError:
            pass
        finally:
            self._takers.remove(taker)
            self._wake_one()  # for the jobs that this poll was woken for and has not taken
        return []

    async def stops(self, worker: Worker, seen: int | None = None) -> list[str]:
        """Return the jobs that a worker must stop; wait for the first as long as a poll is held.

        Args:
            worker: the worker that asks.
            seen: the number of the last answer that reached it; the jobs of later answers are
                returned again. None = it sends no number, and every answer counts as received.
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
        """Note that a worker knows its stops; it may get these jobs again after a while."""
        worker.stops = [job_id for job_id in worker.stops if job_id not in stops]
        worker.stops_sent = (0, [])
        asyncio.get_running_loop().call_later(self.limits.letting_go_s, self._unbar, worker, stops)

    def report(self, worker: Worker, report: Report) -> bool:
        """Queue jobs again that a worker does not have; return whether its poll is the newest.

        A job is missing if the answer with the job was lost, if its result could not be delivered,
        or if the worker is a new process with the same id. An old poll may arrive late, and is
        ignored.
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
            self._put_back(worker, missing, "does not have jobs that it was given", arrived=False)
        elif report.idle:
            self._put_back(worker, list(worker.jobs.values()), "asks for jobs and has none")
        return True

    def dismiss(self, worker: Worker) -> None:
        """Assign no more jobs to a worker; its open polls are answered at once."""
        worker.leaving = True
        worker.told.set()
        for taker in self._takers:
            taker.woken.set()
        self._announce()

    def drain(self) -> int:
        """Assign no more jobs to any worker; return how many queued jobs are cancelled.

        Those in a state file stay in the queue.
        """
        self.draining = True
        for worker in self.workers.values():
            self.dismiss(worker)
        if self._keeps_jobs:
            return 0
        return sum(self.queues.purge(name) for name in self.queues.endpoints)

    @property
    def in_flight(self) -> int:
        """The number of jobs that workers have."""
        return sum(len(worker.jobs) for worker in self.workers.values())

    def serves(self, worker: Worker) -> tuple[str, ...]:
        """Return the endpoints whose jobs a worker takes."""
        if worker.endpoint == EVERYTHING and not self.endpoints.apart:
            return tuple(self.queues.endpoints)
        return (worker.endpoint,)

    def gone(self, worker: Worker, why: str) -> None:
        """Remove a worker that has ended, and queue its jobs again."""
        if self.workers.get(worker.id) is worker:
            del self.workers[worker.id]
        if worker.jobs:
            self._lost[worker.id] = list(worker.jobs)
        self._put_back(worker, list(worker.jobs.values()), why)
        self._announce()

    def _hand_out(self, worker: Worker, count: int) -> list[Job]:
        """Assign to a worker the oldest jobs that it serves, at most its share of them.

        Without shares, the first of several idle workers would take all jobs. A stopped job that is
        retried waits until the worker has released it, because workers identify jobs by id only.
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
        """Queue jobs of a worker again, in their order."""
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
        """Update the worker's record after a job has changed its state."""
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

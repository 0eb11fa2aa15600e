"""The endpoints' queues, and the lifecycle of a job: submitted, taken, ended, kept for a while.

Everything runs in one event loop, so every method is atomic. This module knows no workers: it calls
``on_change`` at each change.
"""

from __future__ import annotations

import asyncio
import heapq
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from local.queue.jobs import Job, Order, Status
from local.queue.limits import Limits
from local.queue.marks import restarted
from local.queue.state import State

_LATE = "The job did not end in time: its executionTimeout or ttl is over."


@dataclass(eq=False)
class Endpoint:
    """One endpoint: its queue, its jobs by id, and counts of how they ended."""

    id: str
    queue: deque[Job] = field(default_factory=deque)
    jobs: dict[str, Job] = field(default_factory=dict)
    ended: Counter[Status] = field(default_factory=Counter)
    retried: int = 0


class Queues:
    """The queue of every endpoint.

    Args:
        names: the endpoints.
        limits: the platform's limits.
        on_change: called with each job that has changed its state, and its previous state.
        state: keeps the jobs in a file; None = they are kept in memory alone.
    """

    def __init__(
        self,
        names: Iterable[str],
        limits: Limits,
        on_change: Callable[[Job, Status | None], None],
        state: State | None = None,
    ) -> None:
        self.endpoints = {name: Endpoint(name) for name in names}
        self._limits = limits
        self._on_change = on_change
        self._state = state
        self._numbers = count(1)

    def submit(self, endpoint_id: str, order: Order) -> Job:
        """Queue a new job."""
        prefix = "sync-" if order.sync else ""
        job = Job(f"{prefix}{uuid.uuid4()}-u1", endpoint_id, order, _now())
        self.endpoints[endpoint_id].jobs[job.id] = job
        self._enqueue(job, None)
        return job

    def keep(self, job: Job) -> None:
        """Write a job to the state file, if there is one."""
        if self._state is not None:
            self._state.save(job)

    def restore(self) -> tuple[list[Job], dict[str, list[str]]]:
        """Take the jobs of the state file over; queue those again that workers had.

        Returns:
            The jobs, and the ids of those that workers had, by the workers' ids.
        """
        jobs = [] if self._state is None else self._state.load()
        known = [job for job in jobs if job.endpoint in self.endpoints]
        self._numbers = count(1 + max((job.run for job in known), default=0))
        taken: dict[str, list[str]] = {}
        for job in known:
            self.endpoints[job.endpoint].jobs[job.id] = job
            if job.final:
                self._keep_final(job)
            elif job.status is Status.IN_QUEUE:
                job.marks = len(job.chunks)
                self._enqueue(job, None)
            else:
                taken.setdefault(str(job.worker), []).append(job.id)
                job.tries -= 1  # the worker was not lost
                self._requeue(job)
        return known, taken

    def _keep_final(self, job: Job) -> None:
        job.chunks = restarted(job, job.runs) + job.chunks  # nobody knows how much was read
        self.endpoints[job.endpoint].ended[job.status] += 1
        self._arm_end(job)

    def find(self, endpoint_id: str, job_id: str) -> Job | None:
        """Return a job, or None if it is unknown or has expired."""
        return self.endpoints[endpoint_id].jobs.get(job_id)

    def cancel(self, job: Job) -> None:
        """Cancel a job, queued or running; a final job is unchanged."""
        if not job.final:
            self._withdraw(job, Status.CANCELLED)

    def retry(self, job: Job) -> bool:
        """Queue a job again that ended without a result; return False if it did not."""
        if job.status is Status.IN_QUEUE:
            return True
        if not job.final or job.status is Status.COMPLETED:
            return False
        job.submitted, job.tries, job.strays = _now(), 0, 0
        self._requeue(job)
        return True

    def purge(self, endpoint_id: str) -> int:
        """Cancel all jobs in a queue; return how many."""
        waiting = list(self.endpoints[endpoint_id].queue)
        for job in waiting:
            self._withdraw(job, Status.CANCELLED)
        return len(waiting)

    def depth(self, names: Iterable[str]) -> int:
        """Return the number of jobs in these queues."""
        return sum(len(self.endpoints[name].queue) for name in names)

    def waiting(self, names: Iterable[str]) -> Iterator[Job]:
        """Iterate over the jobs in these queues, the oldest first."""
        queues = [self.endpoints[name].queue for name in names]
        return heapq.merge(*queues, key=lambda job: job.submitted)

    def assign(self, job: Job, worker_id: str) -> None:
        """Assign a queued job to a worker."""
        self.endpoints[job.endpoint].queue.remove(job)
        job.worker, job.taken = worker_id, _now()
        job.run, job.next_sequence = next(self._numbers), 0
        job.tries += 1
        job.runs += 1
        left_s = job.submitted + job.order.ttl_s - job.taken
        self._arm(job, min(left_s, job.order.execution_timeout_s), self._time_out)
        self._set(job, Status.IN_PROGRESS)

    def put_back(self, job: Job, *, arrived: bool = True) -> None:
        """Queue a job again, in front; fail it if it was lost too often.

        Args:
            job: a job that a worker has.
            arrived: whether the worker had received the job. If not, the job was lost on its way.
        """
        if not arrived:
            job.strays += 1
            job.tries -= 1
        if job.tries >= self._limits.tries:
            self.finish(job, Status.FAILED, error=f"{job.tries} workers were lost on this job.")
        elif job.strays >= self._limits.strays:
            error = f"The job was lost {job.strays} times on its way to a worker."
            self.finish(job, Status.FAILED, error=error)
        else:
            self._requeue(job, in_front=True)

    def finish(
        self, job: Job, status: Status, *, output: Any = None, error: str | None = None
    ) -> None:
        """End a job, and keep it for a while."""
        job.finished, job.output, job.error = _now(), output, error
        self.endpoints[job.endpoint].ended[status] += 1
        self._arm_end(job)
        self._set(job, status)

    def _arm_end(self, job: Job) -> None:
        """Schedule the end of a final job's retention."""
        limits, since_s = self._limits, _now() - (job.finished or 0.0)
        kept_s = limits.runsync_retention_s if job.order.sync else limits.run_retention_s
        self._arm(job, kept_s - since_s, self._forget)

    def _forget(self, job: Job) -> None:
        self.endpoints[job.endpoint].jobs.pop(job.id, None)
        if self._state is not None:
            self._state.drop(job.id)

    def _requeue(self, job: Job, *, in_front: bool = False) -> None:
        self.endpoints[job.endpoint].retried += 1
        job.taken = job.finished = job.output = job.error = None
        job.chunks = restarted(job)
        job.marks, job.read = len(job.chunks), 0
        self._enqueue(job, job.status, in_front=in_front)

    def _enqueue(self, job: Job, was: Status | None, *, in_front: bool = False) -> None:
        queue = self.endpoints[job.endpoint].queue
        (queue.appendleft if in_front else queue.append)(job)
        self._arm(job, job.submitted + job.order.ttl_s - _now(), self._time_out)
        job.status, job.queued = Status.IN_QUEUE, _now()
        self._on_change(job, was)
        self.keep(job)
        job.touch()

    def _time_out(self, job: Job) -> None:
        self._withdraw(job, Status.TIMED_OUT)

    def _withdraw(self, job: Job, status: Status) -> None:
        if job.status is Status.IN_QUEUE:
            self.endpoints[job.endpoint].queue.remove(job)
        self.finish(job, status, error=_LATE if status is Status.TIMED_OUT else None)

    def _set(self, job: Job, status: Status) -> None:
        was, job.status = job.status, status
        self._on_change(job, was)
        self.keep(job)
        job.touch()

    def _arm(self, job: Job, delay_s: float, then: Callable[[Job], object]) -> None:
        """Schedule the next event of a job, and cancel the one scheduled before."""
        if job.timer is not None:
            job.timer.cancel()
        job.timer = asyncio.get_running_loop().call_later(max(0.0, delay_s), then, job)


def _now() -> float:
    return asyncio.get_running_loop().time()

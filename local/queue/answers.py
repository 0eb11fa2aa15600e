"""The posts of workers for their jobs: chunks of a stream, progress, results."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from local.queue.jobs import Job, Status
from local.queue.limits import Limits, TooLarge
from local.queue.marks import incomplete
from local.queue.queues import Queues
from local.queue.workers import Worker


class Answers:
    """Stores what workers post; a job belongs to the worker that took it.

    Args:
        queues: the jobs.
        limits: the platform's limits.
        dismiss: called with a worker that asks to be stopped.
    """

    def __init__(self, queues: Queues, limits: Limits, dismiss: Callable[[Worker], None]) -> None:
        self._queues = queues
        self._limits = limits
        self._dismiss = dismiss

    def stream(
        self,
        worker: Worker,
        job_id: str,
        chunk: Any,
        size_bytes: int,
        *,
        run: int | None = None,
        sequence: int | None = None,
    ) -> None:
        """Store a chunk of a job's stream once; ignore one of another run.

        Args:
            worker: the sender.
            job_id: the id of the job.
            chunk: an event.
            size_bytes: the size of the post.
            run: the number of the run; None = the worker does not send it.
            sequence: the number of the event in its stream; None = the worker does not send it.

        Raises:
            TooLarge: the post exceeds the limit; the chunk is lost, as on RunPod.
        """
        if size_bytes > self._limits.chunk_bytes:
            raise TooLarge(f"exceeded max chunk size of {self._limits.chunk_bytes} bytes")
        job = _of_run(worker, job_id, run)
        if job is None or (sequence is not None and sequence < job.next_sequence):
            return
        if sequence is not None:
            job.next_sequence = sequence + 1
        job.chunks.append(chunk)
        if len(job.chunks) == 1:
            self._queues.keep(job)
        job.touch()

    def finish(
        self,
        worker: Worker,
        job_id: str,
        result: dict[str, Any],
        size_bytes: int,
        *,
        run: int | None = None,
        events: int | None = None,
    ) -> None:
        """Store a job's result; ignore one from a worker that does not have the job any more.

        Args:
            worker: the sender.
            job_id: the id of the job.
            result: an object with ``output`` or ``error``.
            size_bytes: the size of the post.
            run: the number of the run; None = the worker does not send it.
            events: the number of events in the job's stream; None = the worker does not send it.

        Raises:
            TooLarge: the post exceeds the limit. The job fails: another run would lose its result
                as well.
        """
        if result.get("stopPod") is True:
            self._dismiss(worker)
        job = _of_run(worker, job_id, run)
        if job is None:
            return
        if result.get("status") == Status.IN_PROGRESS:  # the SDK's progress_update
            job.output = result.get("output")
            job.touch()
            return
        limit = self._limits.runsync_bytes if job.order.sync else self._limits.run_bytes
        if size_bytes > limit:
            self.refuse(worker, job_id, f"{size_bytes} bytes; the platform keeps {limit} at most")
            raise TooLarge(f"exceeded max body size of {limit} bytes")
        error = result.get("error")
        if error is not None and not isinstance(error, str):
            error = json.dumps(error)
        status = Status.COMPLETED if error is None else Status.FAILED
        if status is Status.COMPLETED and events is not None and job.next_sequence < events:
            job.chunks.append(incomplete(job))
        self._queues.finish(job, status, output=result.get("output"), error=error)

    def refuse(self, worker: Worker, job_id: str, reason: str) -> None:
        """Fail a job whose result cannot be stored: another run would lose its result as well."""
        if (job := worker.jobs.get(job_id)) is not None:
            self._queues.finish(job, Status.FAILED, error=f"The result was refused: {reason}.")


def _of_run(worker: Worker, job_id: str, run: int | None) -> Job | None:
    """Return the job of a post; None if the worker does not have it, or has a later run of it."""
    job = worker.jobs.get(job_id)
    return job if job is None or run is None or run == job.run else None

"""The platform's record of a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from local.queue.endpoints import Served


class Status(StrEnum):
    """RunPod's job states."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"


FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT})


@dataclass(frozen=True)
class Order:
    """A client's job, as it was submitted.

    Attributes:
        input: the job's input, passed to the worker unchanged.
        envelope: the job's other fields (``policy``, ``s3Config``, or those of a body without an
            input), passed on as well.
        execution_timeout_s: how long the job may run.
        ttl_s: how long the job may live, queue time included.
        webhook: RunPod's webhook, which gets the job's status when it is final.
        sync: whether the job came by ``/runsync``, with that route's limits and retention.
        surface: the surface of the route by which it came, if the route has one.
    """

    input: Any
    execution_timeout_s: float
    ttl_s: float
    envelope: Mapping[str, Any] = field(default_factory=dict)
    webhook: str | None = None
    sync: bool = False
    surface: str | None = None


@dataclass(eq=False)
class Hook:
    """An address that is told of a job.

    Attributes:
        surface: in the gateway's events; None = RunPod's webhook.
        pending: how many ends are not delivered yet, those to come included.
        deliveries: the ids of the gateway's deliveries since the job was submitted or retried, by
            their events.
    """

    url: str
    surface: str | None = None
    pending: int = 0
    deliveries: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class Job:
    """One job, from its submission to the end of its retention. Times are the event loop's.

    Attributes:
        queued: when it was last put into its queue.
        worker: the id of the worker that has it, or had it last.
        tries: the number of workers that had it since it was submitted or retried.
        strays: how often it was lost on its way to a worker.
        run: the platform's number of the latest run, which the worker's posts name.
        runs: the total number of its runs.
        output: the worker's answer; None before, or if the answer is empty.
        error: why it failed.
        chunks: the events of the stream so far.
        marks: how many of them, at the front, are the platform's own.
        next_sequence: the number of the next event of the worker's stream.
        read: how many chunks ``/stream`` has returned.
        hooks: the addresses that are told of it.
        timer: the next scheduled event of the job.
    """

    id: str
    endpoint: str
    order: Order
    submitted: float
    status: Status = Status.IN_QUEUE
    queued: float = 0.0
    worker: str | None = None
    tries: int = 0
    strays: int = 0
    run: int = 0
    runs: int = 0
    taken: float | None = None
    finished: float | None = None
    output: Any = None
    error: str | None = None
    chunks: list[Any] = field(default_factory=list)
    marks: int = 0
    next_sequence: int = 0
    read: int = 0
    hooks: list[Hook] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def final(self) -> bool:
        """Whether the job has ended."""
        return self.status in FINAL

    def touch(self) -> None:
        """Wake all tasks that wait for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, timeout_s: float | None = None) -> None:
        """Wait for the next change, at most ``timeout_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def end(self, timeout_s: float | None = None) -> None:
        """Wait until the job is final, at most ``timeout_s``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.final:
                    await self._changed.wait()

    async def states(self) -> AsyncGenerator[Status, None]:
        """Yield the status now and at every change, the final one last."""
        seen = None
        while True:
            changed, status = self._changed, self.status
            if status != seen:
                seen = status
                yield status
                if status in FINAL:
                    return
            await changed.wait()  # over already, if it changed since

    def for_worker(self, served: Served | None) -> dict[str, Any]:
        """Return the job as a worker gets it, with what its endpoint or its route serves."""
        if served is None and self.order.surface is not None:
            served = Served(self.order.surface)
        job = {
            "id": self.id,
            "input": self.order.input,
            **self.order.envelope,
            "runId": self.run,
        }
        if served is not None:
            job["endpoint"] = {"surface": served.surface, "model": served.model}
        return job

    @property
    def streamed(self) -> bool:
        """Whether the worker's stream has an event in this run."""
        return len(self.chunks) > self.marks

    def view(self) -> dict[str, Any]:
        """Return the answer of ``/status``; times in milliseconds."""
        view: dict[str, Any] = {"id": self.id, "status": str(self.status)}
        if self.taken is not None:
            view["delayTime"] = round((self.taken - self.submitted) * 1000)
            view["workerId"] = self.worker
            if self.finished is not None:
                view["executionTime"] = round((self.finished - self.taken) * 1000)
        if self.output is not None:
            view["output"] = self.output
        if self.error is not None:
            view["error"] = self.error
        return view

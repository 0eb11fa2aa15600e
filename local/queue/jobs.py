"""A job as the platform keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
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
    """What a client asks for.

    Attributes:
        input: the job's input, passed to the worker as it is.
        envelope: what stands beside the input (``policy``, ``s3Config``, fields of a body that was
            sent as the job itself), passed along too.
        execution_timeout_s: how long it may run.
        ttl_s: how long it may live, queue time included.
        webhook: RunPod's own webhook: gets the job's status when it is final.
        sync: it came by ``/runsync``, with that route's limits and retention.
        surface: the surface that it came by, where the way said it.
    """

    input: Any
    execution_timeout_s: float
    ttl_s: float
    envelope: Mapping[str, Any] = field(default_factory=dict)
    webhook: str | None = None
    sync: bool = False
    surface: str | None = None


@dataclass(eq=False)
class Job:
    """One job, from its submission to the end of its retention. Times are the event loop's.

    Attributes:
        queued: when it was put into its queue, the last time.
        worker: the id of the worker that has it, or had it last.
        tries: how many workers had it since it was submitted or retried.
        strays: how often it was given to a worker and did not arrive.
        run: the platform's number of the latest run, which its worker's posts name.
        runs: how often it was given to a worker, in all.
        output: what the worker answered; None before, and where it answered nothing.
        error: why it failed.
        chunks: what the worker streamed so far.
        marks: how many of them, at the front, are the platform's own: that the stream begins anew.
        next_sequence: the number of the next event of the worker's stream.
        read: how many chunks ``/stream`` has given out.
        followers: start what follows the job to its end; called again when it is retried.
        timer: the one thing that happens to the job by itself next.
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
    followers: list[Callable[[], None]] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in FINAL

    def touch(self) -> None:
        """Wake everybody who waits for a change."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, timeout_s: float | None = None) -> None:
        """Wait for the next change, and no longer than told."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()

    async def end(self, timeout_s: float | None = None) -> None:
        """Wait until the job is final, and no longer than told."""
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
        """What a worker takes: the job, and what its endpoint serves, or else its way said."""
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
        """Whether the worker's stream has an event, at this run."""
        return len(self.chunks) > self.marks

    def follow(self, start: Callable[[], None]) -> None:
        """Have something follow this job, now and at each retry."""
        self.followers.append(start)
        start()

    def view(self) -> dict[str, Any]:
        """The answer of ``/status``; times in milliseconds."""
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

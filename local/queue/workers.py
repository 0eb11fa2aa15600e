"""The platform's record of a worker."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from local.queue.jobs import Job


@dataclass(eq=False)
class Worker:
    """One worker process, as the platform sees it. Times are the event loop's.

    Attributes:
        endpoint: the endpoint that it takes jobs for.
        jobs: the jobs that it has.
        stops: the jobs that it must stop and does not know of.
        stops_sent: the last answer of the stop channel: its number and its jobs.
        barred: stopped jobs that it may not have released yet, and so must not get again.
        poll: the number of its newest poll for jobs, if it numbers its polls.
        told: set when it has jobs to stop, or leaves.
        open_polls: the number of its open long polls.
        seen: the time of its last request.
        polled: when one of its polls was last opened, or broke off.
        taking: whether it has asked for jobs, and so is ready.
        idle_since: when it became ready or finished its last job; undefined while it has one.
        leaving: whether it gets no more jobs.
        metrics_port: the local port of its metrics; None = it has none.
    """

    id: str
    endpoint: str
    seen: float
    jobs: dict[str, Job] = field(default_factory=dict)
    stops: list[str] = field(default_factory=list)
    stops_sent: tuple[int, list[str]] = (0, [])
    barred: set[str] = field(default_factory=set)
    poll: int = 0
    told: asyncio.Event = field(default_factory=asyncio.Event)
    open_polls: int = 0
    polled: float = 0.0
    taking: bool = False
    idle_since: float = 0.0
    leaving: bool = False
    metrics_port: int | None = None


@dataclass(frozen=True)
class Report:
    """The data that a worker sends when it polls for jobs.

    Attributes:
        poll: the poll's number, which grows from poll to poll; None = it does not send it.
        runs: the runs that it has; None = it does not send them.
        idle: whether it has no job.
    """

    poll: int | None = None
    runs: frozenset[int] | None = None
    idle: bool = False


@dataclass(eq=False)
class Taker:
    """An open poll for jobs.

    Attributes:
        over: whether its worker has sent a newer poll, and no longer waits for this one.
        woken: set when there may be jobs, or the poll must end.
    """

    worker: Worker
    over: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)

"""A worker, as far as the platform can see it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from local.queue.jobs import Job


@dataclass(eq=False)
class Worker:
    """One worker process, as far as it can be seen from here. Times are the event loop's.

    Attributes:
        endpoint: the endpoint that it takes jobs for.
        jobs: those it has.
        stops: those that it is to stop and has not heard of.
        stops_sent: the last answer of the stop channel: its number, and its jobs.
        barred: those that it may still hold on to, having been told, and so must not get again.
        poll: the number of its newest poll for jobs, where it numbers them.
        open_polls: how many of its long polls are open.
        seen: when it was last heard of.
        polled: when a poll of its was last opened, or broke off.
        taking: it has asked for jobs, and so is ready.
        idle_since: when it became ready, or had its last job; means nothing while it has one.
        leaving: it gets no more jobs.
        metrics_port: where it says how it is, on this machine; None = nowhere.
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
    """What a worker says of itself when it polls for jobs.

    Attributes:
        poll: the poll's number, which grows from poll to poll; None = it numbers none.
        runs: the runs that it has; None = it does not say.
        idle: whether it has no job.
    """

    poll: int | None = None
    runs: frozenset[int] | None = None
    idle: bool = False


@dataclass(eq=False)
class Taker:
    """An open poll for jobs.

    Attributes:
        over: its worker has begun another one since, and does not wait for this one.
    """

    worker: Worker
    over: bool = False
    woken: asyncio.Event = field(default_factory=asyncio.Event)

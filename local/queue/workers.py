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
        stops: those that it is to stop and has not been told of.
        barred: those that it may still hold on to, having been told, and so must not get again.
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
    barred: set[str] = field(default_factory=set)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    open_polls: int = 0
    polled: float = 0.0
    taking: bool = False
    idle_since: float = 0.0
    leaving: bool = False
    metrics_port: int | None = None


@dataclass(eq=False)
class Taker:
    """An open poll for jobs."""

    worker: Worker
    woken: asyncio.Event = field(default_factory=asyncio.Event)

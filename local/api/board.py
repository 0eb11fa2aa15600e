"""What the page shows of the platform: jobs, queues and workers, as they change."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator
from itertools import islice
from typing import Any

from local.queue.health import health
from local.queue.jobs import Job
from local.queue.platform import Platform
from local.queue.workers import Worker

_LOOK_S = 0.25
_JOBS = 200  # of each endpoint, the latest


async def changes(platform: Platform) -> AsyncGenerator[dict[str, Any], None]:
    """Yield what there is, then what has changed, until the platform has stopped.

    ``jobs`` are those that are new or not what they were, ``gone`` the ids of those that are shown
    no more; ``endpoints`` and ``workers`` are whole.
    """
    jobs: dict[str, dict[str, Any]] = {}
    around: dict[str, Any] = {}
    # Asked once: of two answers one is a millisecond off now and then, and all jobs seem changed.
    ahead_s = time.time() - asyncio.get_running_loop().time()
    while not platform.draining or platform.in_flight:
        now = {job.id: _job(job, ahead_s) for job in _latest(platform)}
        fresh = [row for key, row in now.items() if jobs.get(key) != row]
        gone = [key for key in jobs if key not in now]
        beside = {
            "endpoints": {name: health(platform, name) for name in platform.served},
            "workers": [_worker(worker) for worker in platform.workers.values()],
        }
        if fresh or gone or beside != around:
            yield {"now": round(time.time() * 1000), "jobs": fresh, "gone": gone, **beside}
        jobs, around = now, beside
        await asyncio.sleep(_LOOK_S)


def _latest(platform: Platform) -> list[Job]:
    """The latest of each endpoint, and what runs, however many have come since."""
    queues = platform.queues.endpoints.values()
    latest = [job for queue in queues for job in islice(reversed(queue.jobs.values()), _JOBS)]
    return [*latest, *(job for worker in platform.workers.values() for job in worker.jobs.values())]


def _job(job: Job, ahead_s: float) -> dict[str, Any]:
    """A job without its input and output; times in milliseconds since 1970.

    ``ahead_s`` is how far the day's time is ahead of the event loop's.
    """

    def ms(at: float | None) -> int | None:
        return None if at is None else round((at + ahead_s) * 1000)

    return {
        "id": job.id,
        "endpoint": job.endpoint,
        "status": str(job.status),
        "about": _about(job.order.input),
        "submitted": ms(job.submitted),
        "taken": ms(job.taken),
        "finished": ms(job.finished),
        "worker": job.worker,
        "tries": job.tries,
        "chunks": len(job.chunks),
        "progress": _progress(job),
        "code": _code(job.error),
    }


def _about(given: Any) -> str | None:
    """The model that a job names, else its route, where it has one."""
    if not isinstance(given, dict):
        return None
    body = given.get("openai_input", given)
    named = body.get("model") if isinstance(body, dict) else None
    told = (one for one in (named, given.get("openai_route")) if isinstance(one, str))
    return next((one[:100] for one in told), None)


def _progress(job: Job) -> dict[str, Any] | None:
    """How far a running job says that it is: ``{"done", "total", "unit"}``."""
    said = None if job.final else job.output
    return said if isinstance(said, dict) and "total" in said else None


def _code(error: str | None) -> str | None:
    """The code of an error object, else the beginning of what a job failed with."""
    if error is None:
        return None
    try:
        return str(json.loads(error)["code"])
    except (ValueError, KeyError, TypeError):
        return error[:100]


def _worker(worker: Worker) -> dict[str, Any]:
    started = "running" if worker.jobs else "idle"
    state = started if worker.taking else "starting"
    return {
        "id": worker.id,
        "endpoint": worker.endpoint,
        "state": "leaving" if worker.leaving else state,
        "jobs": len(worker.jobs),
    }

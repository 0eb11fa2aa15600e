"""The jobs, queues and workers that the page shows, and their changes."""

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
_JOBS = 200  # the latest jobs of each endpoint


async def changes(platform: Platform) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the current state, then each change, until the platform has stopped.

    ``jobs`` are those that are new or have changed, and ``gone`` the ids of those that are no
    longer shown; ``endpoints`` and ``workers`` are always complete.
    """
    jobs: dict[str, dict[str, Any]] = {}
    shown: dict[str, Any] = {}
    # Measured once: the difference varies by a millisecond, and all jobs would seem changed.
    ahead_s = time.time() - asyncio.get_running_loop().time()
    while not platform.draining or platform.in_flight:
        now = {job.id: _job(job, ahead_s) for job in _latest(platform)}
        fresh = [row for key, row in now.items() if jobs.get(key) != row]
        gone = [key for key in jobs if key not in now]
        state = {
            "endpoints": {name: health(platform, name) for name in platform.served},
            "workers": [_worker(worker) for worker in platform.workers.values()],
        }
        if fresh or gone or state != shown:
            seen = round((asyncio.get_running_loop().time() + ahead_s) * 1000)
            yield {"now": seen, "jobs": fresh, "gone": gone, **state}
        jobs, shown = now, state
        await asyncio.sleep(_LOOK_S)


def _latest(platform: Platform) -> list[Job]:
    """Return the latest jobs of each endpoint, and all running jobs."""
    queues = platform.queues.endpoints.values()
    latest = [job for queue in queues for job in islice(reversed(queue.jobs.values()), _JOBS)]
    return [*latest, *(job for worker in platform.workers.values() for job in worker.jobs.values())]


def _job(job: Job, ahead_s: float) -> dict[str, Any]:
    """Return a job without its input and output; times in milliseconds since 1970.

    ``ahead_s`` is the wall clock's time minus the event loop's.
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
    """Return the model that a job names, or else its route, or else None."""
    if not isinstance(given, dict):
        return None
    body = given.get("openai_input", given)
    named = body.get("model") if isinstance(body, dict) else None
    labels = (label for label in (named, given.get("openai_route")) if isinstance(label, str))
    return next((label[:100] for label in labels), None)


def _progress(job: Job) -> dict[str, Any] | None:
    """Return the progress that a running job reports: ``{"done", "total", "unit"}``."""
    output = None if job.final else job.output
    return output if isinstance(output, dict) and "total" in output else None


def _code(error: str | None) -> str | None:
    """Return the code of an error object, or else the beginning of the error."""
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

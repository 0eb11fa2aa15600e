"""How an endpoint is: its jobs, and the workers that serve it."""

from __future__ import annotations

from local.queue.jobs import Status
from local.queue.platform import Platform


def health(platform: Platform, endpoint_id: str) -> dict[str, dict[str, int]]:
    """The answer of ``/health``."""
    endpoint = platform.queues.endpoints[endpoint_id]
    running = [job for worker in platform.workers.values() for job in worker.jobs.values()]
    workers = [one for one in platform.workers.values() if endpoint_id in platform.serves(one)]
    ready = [one for one in workers if one.taking and not one.leaving]
    return {
        "jobs": {
            "completed": endpoint.ended[Status.COMPLETED],
            "failed": endpoint.ended[Status.FAILED] + endpoint.ended[Status.TIMED_OUT],
            "inProgress": sum(job.endpoint == endpoint_id for job in running),
            "inQueue": len(endpoint.queue),
            "retried": endpoint.retried,
        },
        "workers": {
            "idle": sum(not one.jobs for one in ready),
            "initializing": sum(not one.taking for one in workers),
            "ready": len(ready),
            "running": sum(bool(one.jobs) for one in workers),
            "throttled": 0,
            "unhealthy": 0,
        },
    }

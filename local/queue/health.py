"""The state of an endpoint: its jobs, and the workers that serve it."""

from __future__ import annotations

from local.queue.jobs import Status
from local.queue.platform import Platform


def health(platform: Platform, endpoint_id: str) -> dict[str, dict[str, int]]:
    """Return the answer of ``/health``."""
    endpoint = platform.queues.endpoints[endpoint_id]
    running = [job for worker in platform.workers.values() for job in worker.jobs.values()]
    workers = [
        worker for worker in platform.workers.values() if endpoint_id in platform.serves(worker)
    ]
    ready = [worker for worker in workers if worker.taking and not worker.leaving]
    return {
        "jobs": {
            "completed": endpoint.ended[Status.COMPLETED],
            "failed": endpoint.ended[Status.FAILED] + endpoint.ended[Status.TIMED_OUT],
            "inProgress": sum(job.endpoint == endpoint_id for job in running),
            "inQueue": len(endpoint.queue),
            "retried": endpoint.retried,
        },
        "workers": {
            "idle": sum(not worker.jobs for worker in ready),
            "initializing": sum(not worker.taking for worker in workers),
            "ready": len(ready),
            "running": sum(bool(worker.jobs) for worker in workers),
            "throttled": 0,
            "unhealthy": 0,
        },
    }

"""RunPod's routes for clients: ``/v2/{endpoint}/run`` and the others.

They answer with RunPod's JSON and status codes, and ignore unknown query parameters.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.api.common import Refused, authorised, is_number, json_response, read_object
from local.queue.health import health
from local.queue.jobs import Hook, Job, Order, Status
from local.queue.limits import Limits
from local.queue.platform import Platform
from local.webhooks import Webhooks

_STREAM_WAIT_S = 1.0
_MS = 1000


class ClientRoutes:
    """The clients' routes of every endpoint.

    Args:
        platform: the queues.
        webhooks: notified of jobs with a webhook.
        key: the key that clients must send; None = any.
    """

    def __init__(self, platform: Platform, webhooks: Webhooks, key: str | None) -> None:
        self._platform = platform
        self._webhooks = webhooks
        self._key = key

    def routes(self) -> list[Route]:
        """Return all routes, below ``/v2/{endpoint}``."""
        table: list[tuple[str, str, Callable[[Request, str], Awaitable[Response]]]] = [
            ("POST", "run", self._run),
            ("POST", "runsync", self._runsync),
            ("GET", "status/{job}", self._status),
            ("POST", "status/{job}", self._status),
            ("GET", "stream/{job}", self._stream),
            ("POST", "stream/{job}", self._stream),
            ("POST", "cancel/{job}", self._cancel),
            ("POST", "retry/{job}", self._retry),
            ("POST", "purge-queue", self._purge),
            ("GET", "health", self._health),
        ]
        return [
            Route(f"/v2/{{endpoint}}/{path}", self._of_client(handler), methods=[method])
            for method, path, handler in table
        ]

    def _of_client(
        self, handler: Callable[[Request, str], Awaitable[Response]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(http: Request) -> Response:
            if not authorised(http, self._key):
                raise Refused(401, "unauthorized")
            return await handler(http, self.endpoint(http.path_params["endpoint"]))

        return endpoint

    def endpoint(self, name: str) -> str:
        """Return the name of an existing endpoint.

        Raises:
            Refused: there is no such endpoint.
        """
        if name not in self._platform.queues.endpoints:
            raise Refused(404, "endpoint not found")
        return name

    def job(self, endpoint: str, job_id: str) -> Job:
        """Return the job with an id.

        Raises:
            Refused: there is no such job, or it has expired.
        """
        job = self._platform.queues.find(endpoint, job_id)
        if job is None:
            raise Refused(404, "job not found")
        return job

    def submit(self, endpoint: str, order: Order) -> Job:
        """Queue a job, and follow it if it has a webhook.

        Raises:
            Refused: the platform is stopping.
        """
        if self._platform.draining:
            raise Refused(503, "the platform is stopping")
        job = self._platform.queues.submit(endpoint, order)
        if order.webhook is not None:
            self._webhooks.follow(job, Hook(order.webhook))
        return job

    def run(
        self, endpoint: str, body: dict[str, Any], *, sync: bool = False, surface: str | None = None
    ) -> Job:
        """Queue the body of ``/run`` or ``/runsync``; raises what ``read_order`` raises."""
        order = read_order(body, self._platform.limits)
        return self.submit(endpoint, replace(order, sync=sync, surface=surface))

    async def stream(self, job: Job) -> dict[str, Any]:
        """Return the answer of ``/stream``: the chunks not yet returned; waits briefly for one."""
        if job.read == len(job.chunks) and not job.final:
            await job.change(_STREAM_WAIT_S)
        fresh, job.read = job.chunks[job.read :], len(job.chunks)
        view = {"id": job.id, "status": str(job.status)}
        stream = [{"output": chunk} for chunk in fresh]
        return {**view, "stream": stream, **({"error": job.error} if job.error else {})}

    async def _run(self, http: Request, endpoint: str) -> Response:
        body = await read_object(http, self._platform.limits.run_bytes)
        return json_response(accepted(self.run(endpoint, body)))

    async def _runsync(self, http: Request, endpoint: str) -> Response:
        wait_s = read_wait_s(http.query_params.get("wait"), self._platform.limits)
        body = await read_object(http, self._platform.limits.runsync_bytes)
        job = self.run(endpoint, body, sync=True)
        await job.end(wait_s)
        return json_response(job.view())

    async def _status(self, http: Request, endpoint: str) -> Response:
        return json_response(self.job(endpoint, http.path_params["job"]).view())

    async def _stream(self, http: Request, endpoint: str) -> Response:
        return json_response(await self.stream(self.job(endpoint, http.path_params["job"])))

    async def _cancel(self, http: Request, endpoint: str) -> Response:
        job = self.job(endpoint, http.path_params["job"])
        self._platform.queues.cancel(job)
        return json_response(accepted(job))

    async def _retry(self, http: Request, endpoint: str) -> Response:
        job = self.job(endpoint, http.path_params["job"])
        self.retry(job)
        return json_response(accepted(job))

    def retry(self, job: Job) -> None:
        """Queue a job again, for ``/retry``.

        Raises:
            Refused: the job runs, or has its result.
        """
        waits = job.status is Status.IN_QUEUE
        if not self._platform.queues.retry(job):
            raise Refused(400, f"a job that is {job.status} cannot be retried")
        if not waits:
            self._webhooks.follow_again(job)

    async def _purge(self, http: Request, endpoint: str) -> Response:
        return json_response(self.purge(endpoint))

    def purge(self, endpoint: str) -> dict[str, Any]:
        """Empty a queue; return the answer of ``/purge-queue``."""
        return {"removed": self._platform.queues.purge(endpoint), "status": "completed"}

    async def _health(self, http: Request, endpoint: str) -> Response:
        return json_response(health(self._platform, endpoint))


def accepted(job: Job) -> dict[str, str]:
    """Return the answer of ``/run``, ``/cancel`` and ``/retry``."""
    return {"id": job.id, "status": str(job.status)}


def read_wait_s(wait: str | None, limits: Limits) -> float:
    """Return how long ``/runsync`` waits: ``?wait=`` in milliseconds, within the limits.

    Raises:
        Refused: ``wait`` is not a number.
    """
    if wait is None:
        return limits.sync_wait_s
    if not is_number(wait):
        raise Refused(400, "wait is a number of milliseconds")
    return min(max(int(wait) / _MS, limits.min_sync_wait_s), limits.max_sync_wait_s)


_OURS = frozenset({"endpoint", "id", "input", "runId", "webhook"})  # fields that are handled here


def read_order(body: dict[str, Any], limits: Limits) -> Order:
    """Parse the body of ``/run``.

    Raises:
        Refused: it has no input, or its policy is invalid.
    """
    if body.get("input") is None:
        raise Refused(400, 'the body must have an "input"')
    policy = body.get("policy") or {}
    if not isinstance(policy, dict):
        raise Refused(400, "policy must be an object")
    webhook = body.get("webhook")
    if webhook is not None and not _is_url(webhook):
        raise Refused(400, "webhook must be an http or https URL")
    return Order(
        input=body["input"],
        execution_timeout_s=_seconds(policy, "executionTimeout", 5, limits.execution_timeout_s),
        ttl_s=_seconds(policy, "ttl", 10, limits.ttl_s),
        envelope={name: value for name, value in body.items() if name not in _OURS and value},
        webhook=webhook,
    )


def _is_url(value: object) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://"))


def _seconds(policy: dict[str, Any], name: str, least_s: float, default_s: float) -> float:
    value = policy.get(name)
    if value is None:
        return default_s
    most_s = 7 * 24 * 3600
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not least_s * _MS <= value <= most_s * _MS:
        raise Refused(
            400, f"policy.{name} must be from {least_s * _MS} to {most_s * _MS} milliseconds"
        )
    return float(value) / _MS

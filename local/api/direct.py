"""The gateway's direct routes to RunPod's operations: ``/v1/runpod/{surface}/…``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from local.api.bodies import DirectBody
from local.api.client import accepted, read_wait_s
from local.api.common import json_response
from local.api.front import EndpointId, Front, JobId, SurfaceName
from local.api.json_route import JsonRoute
from local.queue.health import health
from local.queue.jobs import Job


def direct_routes(front: Front) -> APIRouter:
    """Return all direct routes."""
    router = APIRouter(prefix="/v1/runpod/{surface}", tags=["RunPod Jobs"], route_class=JsonRoute)
    _add_submissions(router, front)
    _add_operations(router, front)
    return router


def _add_submissions(router: APIRouter, front: Front) -> None:
    async def submit(
        surface: str, body: DirectBody, http: Request, endpoint: str | None, *, sync: bool
    ) -> Job:
        explicit = body.endpointId if endpoint is None else endpoint
        name = front.endpoint(surface, explicit, body.model)
        job = direct_job(await http.json())
        return front.client.run(name, job, sync=sync, surface=surface)

    @router.post("/run")
    async def run(
        surface: SurfaceName, body: DirectBody, http: Request, endpoint: EndpointId = None
    ) -> Response:
        job = await submit(surface, body, http, endpoint, sync=False)
        front.follow(job, body.webhook_url, surface)
        return json_response(accepted(job))

    @router.post("/runsync")
    async def runsync(
        surface: SurfaceName, body: DirectBody, http: Request, endpoint: EndpointId = None
    ) -> Response:
        wait_s = read_wait_s(http.query_params.get("wait"), front.platform.limits)
        job = await submit(surface, body, http, endpoint, sync=True)
        await job.end(wait_s)
        front.follow(job, body.webhook_url, surface)
        return json_response(job.view())


def _add_operations(router: APIRouter, front: Front) -> None:
    @router.get("/status/{jobId}")
    async def status(surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None) -> Response:
        return json_response(front.job(surface, job_id, endpoint).view())

    @router.get("/stream/{jobId}")
    async def stream(surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None) -> Response:
        return json_response(await front.client.stream(front.job(surface, job_id, endpoint)))

    @router.post("/cancel/{jobId}")
    async def cancel(surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None) -> Response:
        job = front.job(surface, job_id, endpoint)
        front.platform.queues.cancel(job)
        return json_response(accepted(job))

    @router.post("/retry/{jobId}")
    async def retry(surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None) -> Response:
        job = front.job(surface, job_id, endpoint)
        front.client.retry(job)
        return json_response(accepted(job))

    @router.post("/purge-queue")
    async def purge(surface: SurfaceName, endpoint: EndpointId = None) -> Response:
        return json_response(front.client.purge(front.endpoint(surface, endpoint)))

    @router.get("/health")
    async def endpoint_health(surface: SurfaceName, endpoint: EndpointId = None) -> Response:
        return json_response(health(front.platform, front.endpoint(surface, endpoint)))


def direct_job(body: dict[str, Any]) -> dict[str, Any]:
    """Return the job of a direct route.

    Of a body whose input is an object, that and what RunPod reads beside it; the rest goes no
    further. Any other body is the input, whole but for the endpoint: RunPod sees no webhook and no
    policy then. One for speech or embeddings has a text under ``input``.
    """
    if not isinstance(body.get("input"), dict):
        return {"input": {name: value for name, value in body.items() if name != "endpointId"}}
    fields: dict[str, Any] = {
        name: body[name] for name in ("webhook", "policy", "s3Config") if name in body
    }
    return {"input": body["input"], **fields}

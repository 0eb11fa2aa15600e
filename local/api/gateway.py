"""The gateway's front door, as its contract defines it: requests become jobs with a status.

Prices, credits and quotas are not included. Everything else goes to the same queues as RunPod's
own routes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, WebSocket
from fastapi.security import HTTPBearer
from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from local.api.bodies import (
    Body,
    ChatBody,
    EmbeddingsBody,
    ImagesBody,
    TranscriptionBody,
    WebhookTestBody,
)
from local.api.client import accepted
from local.api.common import Refused, json_response
from local.api.direct import direct_routes
from local.api.front import (
    EndpointId,
    Front,
    GatewayError,
    JobId,
    SurfaceName,
    is_delivered_to,
)
from local.api.json_route import JsonRoute
from local.api.results import download_of, frame_of
from local.queue.jobs import Job
from local.queue.limits import Limits

_BEARER = HTTPBearer(scheme_name="BearerAuth", auto_error=False)


def gateway_routes(front: Front) -> APIRouter:
    """Return all routes, documented in ``/openapi.json``."""
    # local/api/gate.py checks the key; the scheme here is for the documentation.
    guarded = APIRouter(dependencies=[Depends(_BEARER)], route_class=JsonRoute)
    _add_surfaces(guarded, front)
    _add_jobs(guarded, front)
    _add_webhook_test(guarded, front)
    guarded.include_router(direct_routes(front))
    router = APIRouter()
    router.include_router(guarded)
    _add_socket(router, front)
    return router


def _add_surfaces(router: APIRouter, front: Front) -> None:
    options: dict[str, Any] = {"status_code": 202, "tags": ["OpenAI-Compatible"]}

    @router.post("/v1/chat/completions", **options)
    async def chat(http: Request, body: ChatBody) -> Response:
        return _enqueue(front, body, await http.json())

    @router.post("/v1/images/generations", **options)
    async def images(http: Request, body: ImagesBody) -> Response:
        return _enqueue(front, body, await http.json())

    @router.post("/v1/audio/transcriptions", **options)
    async def transcribe(http: Request, body: TranscriptionBody) -> Response:
        return _enqueue(front, body, await http.json())

    @router.post("/v1/embeddings", **options)
    async def embeddings(http: Request, body: EmbeddingsBody) -> Response:
        return _enqueue(front, body, await http.json())


def _enqueue(front: Front, body: Body, raw: dict[str, Any]) -> Response:
    """Queue the client's original body; the parsed one is for validation only."""
    endpoint = front.endpoint(body.surface, None, body.model)
    job = front.client.run(endpoint, {"input": raw}, surface=body.surface)
    front.follow(job, body.webhook_url, body.surface)
    answer = {
        "id": job.id,
        "object": body.object_name,
        "created": int(time.time()),
        "status": "queued",
        "surface": body.surface,
        "model": body.model,
        "endpoint_id": endpoint,
        "runpod": accepted(job),
    }
    return json_response(answer, 202)


def _add_jobs(router: APIRouter, front: Front) -> None:
    options: dict[str, Any] = {"tags": ["Jobs"]}

    @router.get("/v1/jobs/{surface}/{jobId}", **options)
    async def status(surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None) -> Response:
        return json_response(front.job(surface, job_id, endpoint).view())

    @router.get("/v1/jobs/{surface}/{jobId}/download", **options)
    async def download(
        surface: SurfaceName,
        job_id: JobId,
        file_format: Annotated[Literal["json", "txt"], Query(alias="format")] = "json",
    ) -> Response:
        job = front.recorded(job_id) or front.job(surface, job_id, None)
        return download_of(job, job.order.surface or surface, file_format)

    upgrades: dict[int | str, dict[str, Any]] = {
        101: {"description": "The connection becomes a WebSocket."},
        426: {"description": "The request asks for no upgrade."},
    }

    @router.get("/v1/jobs/{surface}/{jobId}/ws", responses=upgrades, **options)
    async def upgrade(surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None) -> Response:
        raise GatewayError(426, "upgrade_required", "Use WebSocket upgrade to connect")


def _add_socket(router: APIRouter, front: Front) -> None:
    """Add the WebSocket, which repeats a job's status until it is final, or for a minute."""

    @router.websocket("/v1/jobs/{surface}/{jobId}/ws")
    async def push(
        socket: WebSocket, surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None
    ) -> None:
        try:
            front.endpoint(surface, endpoint)
        except GatewayError as error:
            await socket.send_denial_response(error.response())
            return
        except Refused:
            pass  # a frame reports the error
        await socket.accept()

        def look() -> Job:
            recorded = front.recorded(job_id) if endpoint is None else None
            return recorded or front.job(surface, job_id, endpoint)

        download_url = f"http://{socket.headers['host']}/v1/jobs/{surface}/{job_id}/download"
        pushing = asyncio.create_task(_push(socket, look, download_url, front.platform.limits))
        try:
            while True:  # messages are ignored; only the disconnection matters
                await socket.receive_text()
        except (WebSocketDisconnect, KeyError):
            pass
        finally:
            pushing.cancel()


async def _push(
    socket: WebSocket, look: Callable[[], Job], download_url: str, limits: Limits
) -> None:
    with suppress(WebSocketDisconnect):
        for _ in range(limits.socket_polls):
            try:
                job = look()
            except Refused as refused:
                frame = {"type": "error", "status": refused.status}
                await _send(socket, {**frame, "message": "Status polling failed"})
                await socket.close(1011, "status failed")
                return
            await _send(socket, frame_of(job, download_url))
            if job.final:
                await socket.close(1000, "complete")
                return
            await asyncio.sleep(limits.socket_pause_s)
        await socket.close(1000, "timeout")


async def _send(socket: WebSocket, frame: dict[str, Any]) -> None:
    await socket.send_text(json.dumps(frame, ensure_ascii=False))


def _add_webhook_test(router: APIRouter, front: Front) -> None:
    @router.post("/v1/webhooks/test", tags=["Webhooks"])
    async def test(body: WebhookTestBody) -> Response:
        if not is_delivered_to(body.webhook_url):
            raise GatewayError(400, "invalid_webhook_url", "webhook_url must be an https URL")
        event = body.event or "job.processing"
        job_id = await front.webhooks.test(body.webhook_url, event, body.data)
        return json_response({"success": True, "job_id": job_id, "event": event})

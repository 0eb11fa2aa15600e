"""The gateway's front door, as its contract has it: requests become jobs, jobs can be asked about.

Pricing, credits and quotas are the gateway's own affair. Everything else goes to the same queues as
RunPod's own routes.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, WebSocket
from fastapi.security import HTTPBearer
from starlette.responses import Response
from starlette.websockets import WebSocketDisconnect

from local.api.bodies import Body, ChatBody, EmbeddingsBody, ImagesBody, TranscriptionBody
from local.api.client import accepted
from local.api.common import Refused, json_response
from local.api.direct import direct_routes
from local.api.front import EndpointId, Front, GatewayError, JobId, SurfaceName, upstream
from local.api.json_route import JsonRoute
from local.api.results import download_of, messages
from local.queue.jobs import Job

_BEARER = HTTPBearer(scheme_name="BearerAuth", auto_error=False)


def gateway_routes(front: Front) -> APIRouter:
    """All of them, documented in ``/openapi.json``."""
    # The key is checked before (local/api/gate.py); the scheme is for the document.
    guarded = APIRouter(dependencies=[Depends(_BEARER)], route_class=JsonRoute)
    _add_surfaces(guarded, front)
    _add_jobs(guarded, front)
    guarded.include_router(direct_routes(front))
    router = APIRouter()
    router.include_router(guarded)
    _add_socket(router, front)
    return router


def _add_surfaces(router: APIRouter, front: Front) -> None:
    said: dict[str, Any] = {"status_code": 202, "tags": ["OpenAI-Compatible"]}

    @router.post("/v1/chat/completions", **said)
    async def chat(http: Request, body: ChatBody) -> Response:
        return _enqueue(front, body, await http.json())

    @router.post("/v1/images/generations", **said)
    async def images(http: Request, body: ImagesBody) -> Response:
        return _enqueue(front, body, await http.json())

    @router.post("/v1/audio/transcriptions", **said)
    async def transcribe(http: Request, body: TranscriptionBody) -> Response:
        return _enqueue(front, body, await http.json())

    @router.post("/v1/embeddings", **said)
    async def embeddings(http: Request, body: EmbeddingsBody) -> Response:
        return _enqueue(front, body, await http.json())


def _enqueue(front: Front, body: Body, raw: dict[str, Any]) -> Response:
    """Queue the client's own words; what was parsed from them was only for checking."""
    endpoint = front.endpoint(body.surface, None, body.model)
    job = front.client.run(endpoint, {"input": raw})
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
    said: dict[str, Any] = {"tags": ["Jobs"]}

    @router.get("/v1/jobs/{surface}/{jobId}", **said)
    async def status(surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None) -> Response:
        return json_response(front.job(surface, job_id, endpoint).view())

    @router.get("/v1/jobs/{surface}/{jobId}/download", **said)
    async def download(
        surface: SurfaceName,
        job_id: JobId,
        endpoint: EndpointId = None,
        file_format: Annotated[Literal["json", "txt"], Query(alias="format")] = "json",
    ) -> Response:
        return download_of(front.job(surface, job_id, endpoint), surface, file_format)

    upgrades: dict[int | str, dict[str, Any]] = {
        101: {"description": "The connection becomes a WebSocket."},
        426: {"description": "The request asks for no upgrade."},
    }

    @router.get("/v1/jobs/{surface}/{jobId}/ws", responses=upgrades, **said)
    async def upgrade(surface: SurfaceName, job_id: JobId) -> Response:
        raise GatewayError(426, "upgrade_required", "Use WebSocket upgrade to connect")


def _add_socket(router: APIRouter, front: Front) -> None:
    """The WebSocket checks its key by itself: it is no request."""

    @router.websocket("/v1/jobs/{surface}/{jobId}/ws")
    async def push(
        socket: WebSocket, surface: SurfaceName, job_id: JobId, endpoint: EndpointId = None
    ) -> None:
        try:
            front.check_key(socket)
        except GatewayError as error:
            await socket.send_denial_response(error.response())
            return
        await socket.accept()
        try:
            job = front.job(surface, job_id, endpoint)
        except GatewayError as error:
            await _break_off(socket, error)
            return
        except Refused as refused:
            await _break_off(socket, upstream(refused))
            return
        told = asyncio.create_task(_tell(socket, job, _download_url(socket, surface, job_id)))
        try:
            while True:  # what the client says is of no interest, that it leaves is
                await socket.receive_text()
        except (WebSocketDisconnect, KeyError):
            pass
        finally:
            told.cancel()


async def _tell(socket: WebSocket, job: Job, download_url: str) -> None:
    with suppress(WebSocketDisconnect):
        async for message in messages(job, download_url):
            await socket.send_text(json.dumps(message, ensure_ascii=False))
        await socket.close(1000, "complete")


def _download_url(socket: WebSocket, surface: str, job_id: str) -> str:
    return f"http://{socket.headers['host']}/v1/jobs/{surface}/{job_id}/download"


async def _break_off(socket: WebSocket, error: GatewayError) -> None:
    """What cannot be followed is said in a frame, and the connection closed."""
    await socket.send_text(json.dumps({"type": "error", **error.content}))
    await socket.close(1011, error.content["error"]["message"])

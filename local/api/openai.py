"""RunPod's OpenAI proxy: ``/v2/{endpoint}/openai/v1/…``.

A request becomes a job ``{"openai_route", "openai_input"}``. Its answer is returned as JSON, or as
the server-sent events that the worker streams. If the client disconnects, the job is cancelled.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from local.api.client import ClientRoutes
from local.api.common import (
    Gone,
    Refused,
    authorised,
    json_response,
    read_object,
    while_connected,
)
from local.queue.jobs import Job, Order, Status
from local.queue.platform import Platform

# The statuses of the worker's own HTTP door (handler/errors.py); a test compares the two.
_STATUS = {
    "model_not_found": 404,
    "unknown_url": 404,
    "origin_forbidden": 403,
    "request_timeout": 408,
    "request_too_large": 413,
    "worker_busy": 429,
    "storage_failed": 502,
    "disk_full": 503,
    "model_does_not_fit": 503,
    "model_load_failed": 503,
    "weights_unavailable": 503,
    "weights_gated": 503,
    "out_of_memory": 503,
    "device_lost": 503,
    "job_timeout": 504,
}


class OpenAiRoutes:
    """The proxy of every endpoint.

    Args:
        platform: the queues.
        client: submits jobs.
        key: the key that clients must send; None = any.
    """

    def __init__(self, platform: Platform, client: ClientRoutes, key: str | None) -> None:
        self._platform = platform
        self._client = client
        self._key = key

    def routes(self) -> list[Route]:
        """Return the route."""
        path = "/v2/{endpoint}/openai/{route:path}"
        return [Route(path, self._handle, methods=["GET", "POST"])]

    async def _handle(self, http: Request) -> Response:
        try:
            if not authorised(http, self._key):
                raise Refused(401, "Incorrect API key provided.")
            endpoint = self._client.endpoint(http.path_params["endpoint"])
            job = self._client.submit(endpoint, await self._order(http))
        except Refused as refused:
            return _refusal(refused)
        try:
            if _asks_for_stream(job.order.input["openai_input"]):
                return await self._stream(http, job)
            await while_connected(http, job.end())
        except Gone:
            self._platform.queues.cancel(job)
        return _answer(job)

    async def _order(self, http: Request) -> Order:
        if http.headers.get("content-type", "").lower().startswith("multipart/"):
            raise Refused(
                400,
                "The queue carries no files: send JSON with the file's URL or base64 in "
                "audioUrl or image, or use a load-balancing endpoint.",
            )
        limits = self._platform.limits
        body = await read_object(http, limits.runsync_bytes) if http.method == "POST" else {}
        return Order(
            input={"openai_route": "/" + http.path_params["route"], "openai_input": body},
            execution_timeout_s=limits.execution_timeout_s,
            ttl_s=limits.ttl_s,
            sync=True,
        )

    async def _stream(self, http: Request, job: Job) -> Response:
        """Wait for the first event: until then, an error can have its own HTTP status."""
        await while_connected(http, _first(job))
        if not job.streamed:
            return _answer(job)
        return StreamingResponse(self._events(job), media_type="text/event-stream")

    async def _events(self, job: Job) -> AsyncGenerator[str, None]:
        """Yield the worker's events as they arrive; if closed early, cancel the job."""
        sent, runs = job.marks, job.runs
        try:
            while True:
                while job.runs == runs and sent < len(job.chunks):
                    chunk = job.chunks[sent]
                    sent += 1
                    yield chunk if isinstance(chunk, str) else _event(chunk)
                if job.runs != runs or job.status is Status.IN_QUEUE:
                    yield _event(
                        {"error": _error("The worker was lost in the middle of the answer.")}
                    )
                    return
                if job.final:
                    break
                await job.change()
            if job.status is not Status.COMPLETED and not _has_error(job):
                yield _event({"error": _error_of(job)})
        finally:
            self._platform.queues.cancel(job)


def _asks_for_stream(body: dict[str, Any]) -> bool:
    return body.get("stream") is True or body.get("stream_format") == "sse"


async def _first(job: Job) -> None:
    while not (job.streamed or job.final):
        await job.change()


def _has_error(job: Job) -> bool:
    """Whether the stream already contains the worker's error."""
    last = job.chunks[-1] if job.chunks else None
    return isinstance(last, str) and any(
        line.startswith('data: {"error"') for line in last.splitlines()
    )


# Some parsers of server-sent events treat these as line ends; JSON does not.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


def _event(content: Any) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False).translate(_LINE_ENDS)}\n\n"


def _answer(job: Job) -> Response:
    if job.status is not Status.COMPLETED:
        error = _error_of(job)
        return json_response({"error": error}, status_of(error))
    if isinstance(job.output, str):  # a transcript as text, srt or vtt
        return PlainTextResponse(job.output)
    return json_response(job.output)


def _error_of(job: Job) -> dict[str, Any]:
    """Return the worker's error object, or else an error for what the platform did to the job."""
    try:
        error = json.loads(job.error or "")
        if isinstance(error, dict) and isinstance(error.get("code"), str):
            return error
    except ValueError:
        pass
    if job.status is Status.TIMED_OUT:
        return _error(job.error or "The job did not end in time.", "job_timeout")
    return _error(job.error or f"The job is {job.status}.")


def _error(message: str, code: str = "job_failed") -> dict[str, Any]:
    return {"message": message, "type": "server_error", "param": None, "code": code}


def status_of(error: dict[str, Any]) -> int:
    """Return the HTTP status of an error object."""
    fallback = 400 if error.get("type") == "invalid_request_error" else 500
    return _STATUS.get(error["code"], fallback)


def _refusal(refused: Refused) -> Response:
    code = {401: "invalid_api_key", 404: "not_found", 503: "unavailable"}.get(refused.status)
    error = {
        "message": refused.message,
        "type": "invalid_request_error",
        "param": None,
        "code": code or "invalid_request",
    }
    return json_response({"error": error}, refused.status)

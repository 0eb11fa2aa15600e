"""The server: its routes, error handlers and middleware."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from local.api.client import ClientRoutes
from local.api.common import Refused, json_response
from local.api.faults import Faults, Faulty
from local.api.front import Front, GatewayError, upstream
from local.api.gate import Gate
from local.api.gateway import gateway_routes
from local.api.json_route import NotJson, is_json
from local.api.openai import OpenAiRoutes
from local.api.origins import Origins
from local.api.page import PageRoutes
from local.api.worker import WorkerRoutes
from local.queue.endpoints import Endpoints, Served
from local.queue.limits import Limits, TooLarge
from local.queue.platform import Platform
from local.queue.scale import Scale
from local.queue.state import State
from local.queue.watch import watch
from local.webhooks import Webhooks

SURFACES = ("chat", "images", "transcribe", "speech", "music", "embeddings")


@dataclass(frozen=True)
class Options:
    """The configuration of the platform.

    Attributes:
        surfaces: the surfaces that have an endpoint.
        further: endpoints with other names.
        scale: how many workers each endpoint has; None = a number of workers that all share.
        key: the key that clients must send; None = any.
        webhook_secret: signs the gateway's webhooks.
        token: the secret in the workers' URLs.
        names: further host names of this server.
        limits: the platform's limits.
        faults: faults to inject into workers' requests, for tests; None = none.
        state: the file that keeps the jobs; None = they are kept in memory alone.
    """

    surfaces: Sequence[str] = SURFACES
    further: Mapping[str, Served] = field(default_factory=dict)
    scale: Scale | None = None
    key: str | None = None
    webhook_secret: str = "local"  # noqa: S105 - documented, for trying signatures out
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    names: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    faults: Faults | None = None
    state: Path | None = None


def build(options: Options) -> tuple[ASGIApp, Platform]:
    """Create the server and its platform.

    Raises:
        StateUnusable: the state file cannot be used.
    """
    apart = options.scale is not None
    endpoints = Endpoints(tuple(options.surfaces), options.further, apart)
    state = None if options.state is None else State(options.state)
    platform = Platform(endpoints, options.limits, state)
    webhooks = Webhooks(options.limits, options.webhook_secret, platform.queues.keep)
    client = ClientRoutes(platform, webhooks, options.key)
    front = Front(platform, client, webhooks, options.key)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        for job in platform.restore():
            webhooks.resume(job)
        watching = asyncio.create_task(watch(platform))
        yield
        watching.cancel()
        await webhooks.close()
        if state is not None:
            state.close()

    application = _framework()(
        title="Quartet, locally",
        version="1",
        summary="The gateway's routes, with RunPod's behind them below /v2.",
        lifespan=lifespan,
        redoc_url=None,
        openapi_tags=[
            {"name": name} for name in ("OpenAI-Compatible", "Jobs", "RunPod Jobs", "Webhooks")
        ],
        exception_handlers={
            Refused: _refused,
            TooLarge: _too_large,
            GatewayError: _gateway_error,
            RequestValidationError: _invalid,
            NotJson: _malformed,
            ClientDisconnect: _left,
            HTTPException: _no_such_route,
            Exception: _broken,
        },
    )
    application.router.redirect_slashes = False
    application.router.routes += [
        *WorkerRoutes(platform, options.token).routes(),
        *client.routes(),
        *OpenAiRoutes(platform, client, options.key).routes(),
        *PageRoutes(platform, client, options.key).routes(),
    ]
    application.include_router(gateway_routes(front))
    application.add_exception_handler(WebSocketRequestValidationError, _invalid_socket)
    application.add_middleware(Gate, front=front, names=options.names)
    application.add_middleware(Origins, has_key=options.key is not None)
    if options.faults is not None:
        return Faulty(application, options.faults), platform
    return application, platform


def _framework() -> Callable[..., FastAPI]:
    """Return FastAPI with its own ``/docs`` page, or without one if its package is missing.

    FastAPI's default page loads its scripts from another server.
    """
    try:
        from fastapi_offline import FastAPIOffline
    except ImportError:
        return partial(FastAPI, docs_url=None)
    offline: Callable[..., FastAPI] = FastAPIOffline
    return offline


async def _refused(http: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for this type
    if http.url.path.startswith("/v2/"):
        return json_response({"error": error.message}, error.status)
    return upstream(error).response()


async def _too_large(http: Request, error: Exception) -> Response:
    return json_response({"error": f"body: {error}"}, 400)


async def _gateway_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101 - registered for this type
    return error.response()


async def _left(http: Request, error: Exception) -> Response:
    """Return a response that is not sent: the client closed the connection."""
    return Response(status_code=499)


async def _malformed(http: Request, error: Exception) -> Response:
    return PlainTextResponse("Malformed JSON in request body", 400)


async def _invalid(http: Request, error: Exception) -> Response:
    """Answer a request that the gateway's schema rejects: the fields, the reasons and the data."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this type
    as_json = is_json(http.headers.get("content-type", ""))
    return _explained(error.errors(), http, error.body if as_json else {})


async def _invalid_socket(socket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)  # noqa: S101 - registered for this
    await socket.send_denial_response(_explained(error.errors(), socket, {}))


def _explained(problems: Sequence[Any], http: HTTPConnection, body: Any) -> Response:
    """Answer like a schema validator of the gateway's framework.

    It checks the path, then the query, then the body, and reports the first that is invalid.
    """
    sent = {"path": dict(http.path_params), "query": dict(http.query_params), "body": body}
    place = next(place for place in sent if any(problem["loc"][0] == place for problem in problems))
    wrong = [problem for problem in problems if problem["loc"][0] == place]
    fields = dict.fromkeys(problem["loc"][:2] for problem in wrong)
    errors = [
        _innermost([problem for problem in wrong if problem["loc"][:2] == field])
        for field in fields
    ]
    return json_response({"success": False, "error": errors, "data": sent[place]}, 400)


def _innermost(problems: Sequence[Any]) -> dict[str, str]:
    """Return the most specific of one field's errors.

    If a field accepts several types, the alternatives that the client did not mean fail early.
    """
    first = max(problems, key=_depth)
    place = ".".join(str(step) for step in first["loc"][1:] if _is_named(step))
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_attributes_type":
        reason = "must be a JSON object, with Content-Type: application/json"
    return {"message": f"{place or 'body'}: {reason}"}


def _depth(problem: Any) -> tuple[int, bool]:
    return sum(_is_named(step) for step in problem["loc"]), not problem["type"].endswith("_type")


def _is_named(step: str | int) -> bool:
    """Whether a step names a field or an item; pydantic also names a field's alternatives."""
    return isinstance(step, int) or (step.isidentifier() and step != "str")


async def _no_such_route(http: Request, error: Exception) -> Response:
    """Answer a request for an unknown route; for the gateway, a wrong method is one as well."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this type
    if http.url.path.startswith("/v2/"):
        message = f"There is no {http.method} {http.url.path[:60]} here"
        return json_response({"error": message}, error.status_code)
    missing = error.status_code in {404, 405}
    text = "404 Not Found" if missing else error.detail
    return PlainTextResponse(text, 404 if missing else error.status_code)


async def _broken(http: Request, error: Exception) -> Response:
    """Answer after an internal error, which the log describes."""
    if http.url.path.startswith("/v2/"):
        return json_response({"error": "The local platform failed on this request"}, 500)
    return PlainTextResponse("Internal Server Error", 500)

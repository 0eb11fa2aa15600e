"""The server: every route, and what goes on behind them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
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
from local.queue.watch import watch
from local.webhooks import Webhooks

SURFACES = ("chat", "images", "transcribe", "speech", "embeddings")


@dataclass(frozen=True)
class Options:
    """How the platform is set up.

    Attributes:
        surfaces: those with an endpoint.
        further: endpoints of other names.
        scale: how many workers each endpoint has of its own; None = a number that all share.
        key: the key that clients must bring; None = any.
        webhook_secret: signs the gateway's webhooks.
        token: the secret in the workers' addresses.
        names: further host names that clients may call this server by.
        limits: the platform's numbers.
        faults: what is to go wrong with workers' requests, for tests; None = nothing.
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


def build(options: Options) -> tuple[ASGIApp, Platform]:
    """Put the server together."""
    apart = options.scale is not None
    endpoints = Endpoints(tuple(options.surfaces), options.further, apart)
    platform = Platform(endpoints, options.limits)
    webhooks = Webhooks(options.limits, options.webhook_secret)
    client = ClientRoutes(platform, webhooks, options.key)
    front = Front(platform, client, webhooks, options.key)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(watch(platform))
        yield
        watching.cancel()
        await webhooks.close()

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
    """FastAPI with a page at ``/docs`` of our own; without its package there is no such page.

    FastAPI's own page loads its scripts from another server.
    """
    try:
        from fastapi_offline import FastAPIOffline
    except ImportError:
        return partial(FastAPI, docs_url=None)
    made: Callable[..., FastAPI] = FastAPIOffline
    return made


async def _refused(http: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for it
    if http.url.path.startswith("/v2/"):
        return json_response({"error": error.message}, error.status)
    return upstream(error).response()


async def _too_large(http: Request, error: Exception) -> Response:
    return json_response({"error": f"body: {error}"}, 400)


async def _gateway_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101 - registered for it
    return error.response()


async def _left(http: Request, error: Exception) -> Response:
    """Answer nobody: the client went away while it sent its request."""
    return Response(status_code=499)


async def _malformed(http: Request, error: Exception) -> Response:
    return PlainTextResponse("Malformed JSON in request body", 400)


async def _invalid(http: Request, error: Exception) -> Response:
    """What the gateway's schema refuses: each field and why, and what was sent."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    as_json = is_json(http.headers.get("content-type", ""))
    return _explained(error.errors(), http, error.body if as_json else {})


async def _invalid_socket(socket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)  # noqa: S101 - registered for it
    await socket.send_denial_response(_explained(error.errors(), socket, {}))


def _explained(problems: Sequence[Any], http: HTTPConnection, body: Any) -> Response:
    """What a schema validator of the gateway's framework answers.

    It looks at the path, then at the query, then at the body, and echoes the first that is wrong.
    """
    sent = {"path": dict(http.path_params), "query": dict(http.query_params), "body": body}
    place = next(place for place in sent if any(problem["loc"][0] == place for problem in problems))
    wrong = [problem for problem in problems if problem["loc"][0] == place]
    fields = dict.fromkeys(one["loc"][:2] for one in wrong)
    told = [_innermost([one for one in wrong if one["loc"][:2] == field]) for field in fields]
    return json_response({"success": False, "error": told, "data": sent[place]}, 400)


def _innermost(problems: Sequence[Any]) -> dict[str, str]:
    """Of one field's problems, the one furthest in.

    Where a field may be one of several things, what was not meant fails at once, by its type.
    """
    first = max(problems, key=_telling)
    place = ".".join(str(step) for step in first["loc"][1:] if _is_named(step))
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_attributes_type":
        reason = "must be a JSON object, with Content-Type: application/json"
    return {"message": f"{place or 'body'}: {reason}"}


def _telling(problem: Any) -> tuple[int, bool]:
    return sum(_is_named(step) for step in problem["loc"]), not problem["type"].endswith("_type")


def _is_named(step: str | int) -> bool:
    """Whether it is of the body; pydantic names the alternatives of a field, too."""
    return isinstance(step, int) or (step.isidentifier() and step != "str")


async def _no_such_route(http: Request, error: Exception) -> Response:
    """To the gateway a method that an address has not is as good as no address."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    if http.url.path.startswith("/v2/"):
        message = f"There is no {http.method} {http.url.path[:60]} here"
        return json_response({"error": message}, error.status_code)
    missing = error.status_code in {404, 405}
    text = "404 Not Found" if missing else error.detail
    return PlainTextResponse(text, 404 if missing else error.status_code)


async def _broken(http: Request, error: Exception) -> Response:
    """A mistake of ours; the log has it."""
    if http.url.path.startswith("/v2/"):
        return json_response({"error": "The local platform failed on this request"}, 500)
    return PlainTextResponse("Internal Server Error", 500)

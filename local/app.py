"""The server: every route, and what goes on behind them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from local.api.client import ClientRoutes
from local.api.common import Refused, json_response
from local.api.front import Front, GatewayError, upstream
from local.api.gate import Gate
from local.api.gateway import gateway_routes
from local.api.openai import OpenAiRoutes
from local.api.worker import WorkerRoutes
from local.limits import Limits, TooLarge
from local.platform import Platform
from local.watch import watch
from local.webhooks import Webhooks

SURFACES = ("chat", "images", "transcribe", "embeddings")


@dataclass(frozen=True)
class Options:
    """How the platform is set up.

    Attributes:
        surfaces: those with an endpoint.
        key: the key that clients must bring; None = any.
        webhook_secret: signs the gateway's webhooks.
        token: the secret in the workers' addresses.
        limits: the platform's numbers.
    """

    surfaces: Sequence[str] = SURFACES
    key: str | None = None
    webhook_secret: str = "local"  # noqa: S105 - documented, for trying signatures out
    token: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    limits: Limits = field(default_factory=Limits)


def build(options: Options) -> tuple[FastAPI, Platform]:
    """Put the server together."""
    platform = Platform(options.surfaces, options.limits)
    webhooks = Webhooks(options.limits, options.webhook_secret)
    client = ClientRoutes(platform, webhooks, options.key)
    front = Front(platform, client, webhooks, options.key)

    @asynccontextmanager
    async def lifespan(application: FastAPI) -> AsyncIterator[None]:
        watching = asyncio.create_task(watch(platform))
        yield
        watching.cancel()
        await webhooks.close()

    application = FastAPI(
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
            HTTPException: _no_such_route,
            Exception: _broken,
        },
    )
    application.router.routes += [
        *WorkerRoutes(platform, options.token).routes(),
        *client.routes(),
        *OpenAiRoutes(platform, client, options.key).routes(),
    ]
    application.include_router(gateway_routes(front))
    application.add_exception_handler(WebSocketRequestValidationError, _invalid_socket)
    application.add_middleware(Gate, front=front)
    return application, platform


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


async def _invalid(http: Request, error: Exception) -> Response:
    """A body or a parameter that the gateway's schema refuses: the field, and why."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    return _explained(error.errors()).response()


async def _invalid_socket(socket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)  # noqa: S101 - registered for it
    await socket.send_denial_response(_explained(error.errors()).response())


def _explained(problems: Sequence[Any]) -> GatewayError:
    """Of the first wrong field, the problem furthest in.

    Where a field may be one of several things, what was not meant fails at once, by its type.
    """
    field = problems[0]["loc"][:2]
    first = max((one for one in problems if one["loc"][:2] == field), key=_telling)
    if first["type"] == "json_invalid":
        return GatewayError(400, "invalid_request", "The body is not JSON", {"param": None})
    place = ".".join(str(step) for step in first["loc"][1:] if _is_named(step))
    reason = first["msg"].removeprefix("Value error, ")
    if first["type"] == "model_attributes_type":
        reason = "must be a JSON object, with Content-Type: application/json"
    message = f"{place or 'body'}: {reason}"
    return GatewayError(400, "invalid_request", message, {"param": place or None})


def _telling(problem: Any) -> tuple[int, bool]:
    return sum(_is_named(step) for step in problem["loc"]), not problem["type"].endswith("_type")


def _is_named(step: str | int) -> bool:
    """Whether it is of the body; pydantic names the alternatives of a field, too."""
    return isinstance(step, int) or (step.isidentifier() and step != "str")


async def _no_such_route(http: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
    missing = f"There is no {http.method} {http.url.path[:60]} here"
    message = missing if error.status_code in {404, 405} else error.detail
    codes = {404: "not_found", 405: "method_not_allowed"}
    return _said(http, error.status_code, codes.get(error.status_code, "invalid_request"), message)


async def _broken(http: Request, error: Exception) -> Response:
    """A mistake of ours; the log has it."""
    return _said(http, 500, "internal_error", "The local platform failed on this request")


def _said(http: Request, status: int, code: str, message: str) -> Response:
    if http.url.path.startswith("/v2/"):
        return json_response({"error": message}, status)
    return GatewayError(status, code, message).response()

"""The server: every route, and what goes on behind them."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from local.api.client import ClientRoutes
from local.api.common import Refused, json_response
from local.api.front import Front, GatewayError, upstream
from local.api.gateway import gateway_routes
from local.api.openai import OpenAiRoutes
from local.api.worker import WorkerRoutes
from local.limits import Limits
from local.platform import Platform, TooLarge
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
        watch = asyncio.create_task(platform.watch())
        yield
        watch.cancel()
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
        },
    )
    application.router.routes += [
        *WorkerRoutes(platform, options.token).routes(),
        *client.routes(),
        *OpenAiRoutes(platform, client, options.key).routes(),
    ]
    application.include_router(gateway_routes(front))
    return application, platform


async def _refused(http: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)  # noqa: S101 - registered for it
    if http.url.path.startswith("/v2/"):
        return json_response({"error": error.message}, error.status)
    return await _gateway_error(http, upstream(error))


async def _too_large(http: Request, error: Exception) -> Response:
    return json_response({"error": f"body: {error}"}, 400)


async def _gateway_error(http: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)  # noqa: S101 - registered for it
    return json_response(error.content, error.status)


async def _invalid(http: Request, error: Exception) -> Response:
    """A body or a parameter that the gateway's schema refuses: the field, and why."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for it
    first = error.errors()[0]
    place = [str(step) for step in first["loc"] if step not in {"body", "query", "path"}]
    message = f"{'.'.join(place) or 'body'}: {first['msg']}"
    return await _gateway_error(
        http, GatewayError(400, "invalid_request", message, {"param": ".".join(place) or None})
    )


async def _no_such_route(http: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "not_found", 405: "method_not_allowed"}.get(status, "invalid_request")
    message = f"There is no {http.method} {http.url.path[:60]} here"
    if http.url.path.startswith("/v2/"):
        return json_response({"error": message}, status)
    return await _gateway_error(http, GatewayError(status, code, message))

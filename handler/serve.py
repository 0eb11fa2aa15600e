"""OpenAI's synchronous routes over plain HTTP, with no queue: RunPod's load-balancing endpoints.

python -m handler --serve
"""

from __future__ import annotations

import asyncio
import logging

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.types import ASGIApp

from handler.door import Door
from handler.entry import Worker
from handler.settings import Settings

log = logging.getLogger(__name__)


def run(worker: Worker, settings: Settings, on_runpod: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are finished first."""
    preload = settings.preload and worker.dispatcher.endpoint.only is not None
    door = Door(worker, settings.request_limit_bytes, preload)
    host = settings.serve_host or ("0.0.0.0" if on_runpod else "127.0.0.1")  # noqa: S104
    port = settings.port if settings.port is not None else (80 if on_runpod else 8000)
    asyncio.run(_listen(door, host, port, settings.port_health))


async def _listen(door: Door, host: str, port: int, health_port: int | None) -> None:
    servers = [_server(door.application(), host, port)]
    if health_port not in {None, port}:
        ping = Starlette(routes=[Route("/ping", door.ping)])
        servers.append(_server(ping, host, health_port or 0))
    log.info("listening on http://%s:%d", host, port)
    await asyncio.gather(*(server.serve() for server in servers))


def _server(application: ASGIApp, host: str, port: int) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(application, host=host, port=port, log_config=None, access_log=False)
    )

"""OpenAI's synchronous routes over plain HTTP, with no queue: RunPod's load-balancing endpoints.

python -m handler --serve
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route
from starlette.types import ASGIApp

from handler.doors.http.crowd import CrowdLimits
from handler.doors.http.protection import (
    KEEP_ALIVE_S,
    LOOPBACK,
    BodyLimits,
    OwnPages,
    PatientProtocol,
)
from handler.doors.http.routes import Door
from handler.ending import end_process
from handler.entry import Worker
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings

log = logging.getLogger(__name__)

# Requests that wait while others are computed: enough that the device never waits for a client that
# comes back, and so few that none waits for long.
_TIMES_BUSY, _LEAST_AT_ONCE = 4, 32


def run(worker: Worker, settings: Settings, on_runpod: bool) -> None:
    """Serve until SIGTERM or Ctrl-C; requests in flight are finished first.

    While the model is being loaded and no request waits for it, the process ends at once.

    Args:
        worker: answers.
        settings: where to listen, what to load first.
        on_runpod: whether the defaults are those of RunPod: the outside, port 80.

    Raises:
        SettingsError: a port cannot be had.
    """
    preload = settings.preload and worker.endpoint.only is not None
    limits = BodyLimits(settings.request_limit_bytes)

    def requests() -> int:
        wanted = max(_LEAST_AT_ONCE, _TIMES_BUSY * worker.concurrency)
        return settings.requests_at_once or wanted

    crowd = CrowdLimits(requests, settings.request_bytes_at_once)
    door = Door(worker, limits, preload, settings.playground, crowd)
    host = settings.serve_host or ("0.0.0.0" if on_runpod else "127.0.0.1")  # noqa: S104
    port = settings.port if settings.port is not None else (80 if on_runpod else 8000)
    application = door.application()
    if host in LOOPBACK:  # there is no key: a page whose name leads here must not be answered
        application = OwnPages(TrustedHostMiddleware(application, [*LOOPBACK]))
    listeners: list[tuple[ASGIApp, socket.socket]] = [(application, _bind("PORT", host, port))]
    if settings.port_health not in {None, port}:
        ping = Starlette(routes=[Route("/ping", door.ping)])
        listeners.append((ping, _bind("PORT_HEALTH", host, settings.port_health or 0)))
    # What fails inside is answered and logged by us; uvicorn would log it again, message and all.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    address = f"http://{host}:{listeners[0][1].getsockname()[1]}"
    log.info("listening on %s", address)
    if settings.playground:
        log.info("a page to try it: %s/playground", address)
    asyncio.run(_serve(door, listeners))
    if worker.lost.is_set():
        end_process(1)


def _bind(name: str, host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol said, asyncio turns Nagle's algorithm off: with it each answer waits for 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        return listener
    except OSError as error:
        listener.close()
        reasons = {
            errno.EADDRINUSE: "is taken; choose another",
            errno.EACCES: f"is not for user {os.getuid()}; choose one from 1024 on",
        }
        reason = reasons.get(error.errno or 0, f"of {host} cannot be listened on")
        raise SettingsError(f"{name}: {port} {reason}") from None


class _Server(uvicorn.Server):
    """uvicorn's, which need not wait for a model that nobody has asked for."""

    def __init__(self, config: uvicorn.Config, door: Door) -> None:
        super().__init__(config)
        self._door = door

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop after the requests in flight; a load that runs alone is cut off."""
        if self._door.only_warms:
            end_process(128 + sig)
        super().handle_exit(sig, frame)


def _server(door: Door, app: ASGIApp) -> uvicorn.Server:
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        log_config=None,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    return _Server(config, door)


async def _serve(door: Door, listeners: list[tuple[ASGIApp, socket.socket]]) -> None:
    await asyncio.gather(*(_server(door, app).serve([listener]) for app, listener in listeners))

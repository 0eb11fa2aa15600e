"""``/metrics`` of a worker behind the queue, on a port of this machine."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from handler.doors.metrics import Metrics

log = logging.getLogger(__name__)


@asynccontextmanager
async def exposed(metrics: Metrics, host: str, port: int) -> AsyncIterator[None]:
    """Answer ``GET /metrics`` beside the block; a port that cannot be had stops no worker."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=metrics.expose(), headers={"Content-Type": metrics.content_type})

    application = web.Application()
    application.router.add_get("/metrics", answer)
    runner = web.AppRunner(application, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        log.warning("no /metrics: METRICS_PORT %d cannot be had (%s)", port, error.strerror)
    try:
        yield
    finally:
        await runner.cleanup()

"""Loopback servers that tests talk to: any aiohttp application on a thread of its own."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from tests.support.loops import loop_on_a_thread


@contextmanager
def serve(application: web.Application, secure: ssl.SSLContext | None = None) -> Iterator[str]:
    """Run an application on 127.0.0.1 and lend its base URL; ``secure`` makes it one of https."""
    runner = web.AppRunner(application, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=secure)
        await site.start()
        return int(runner.addresses[0][1])

    with loop_on_a_thread() as loop:
        port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        try:
            yield f"{'https' if secure else 'http'}://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)

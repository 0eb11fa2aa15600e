"""An event loop on a thread of its own, which leaves nothing behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loop_on_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """Lend a running loop. At the end its tasks are cancelled and awaited, and it is closed.

    A loop that is merely stopped would leave its tasks' sockets to the garbage collector.
    """
    runner = asyncio.Runner()
    loop = runner.get_loop()
    ended = asyncio.Event()

    def run() -> None:
        with runner:
            runner.run(wait())

    async def wait() -> None:
        await ended.wait()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        assert not thread.is_alive(), "a task does not end when it is cancelled"

"""Streams as the platform carries them: one awaited POST per event, so fewer and larger ones.

Events that come while a POST is under way are joined into one. The first is never held back.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeVar

Event = TypeVar("Event")

MAX_JOINED = 512  # tokens in one event: far below the megabyte that the platform takes


async def coalesce(
    events: AsyncGenerator[Event, None], merge: Callable[[Event, Event], Event | None]
) -> AsyncGenerator[Event, None]:
    """Yield events, joining those that queued while the consumer was busy.

    Args:
        events: the stream; closed when this one is.
        merge: joins two neighbours into one event, or returns None to keep them apart.
    """
    queue: asyncio.Queue[Event | _End] = asyncio.Queue()
    pump = asyncio.create_task(_pump(events, queue))
    try:
        held = await queue.get()
        while not isinstance(held, _End):
            following: Event | _End | None = None
            for _ in range(min(queue.qsize(), MAX_JOINED)):
                following = queue.get_nowait()
                joined = None if isinstance(following, _End) else merge(held, following)
                if joined is None:
                    break
                held, following = joined, None
            yield held
            held = following or await queue.get()
        if held.error is not None:
            raise held.error
    finally:
        pump.cancel()
        await asyncio.wait([pump])


async def to_client(
    events: AsyncGenerator[Any, None], merge: Callable[[Any, Any], Any], route: str | None
) -> AsyncGenerator[Any, None]:
    """Yield events as clients read them: objects, or server-sent events on an OpenAI route."""
    async with aclosing(coalesce(events, merge)) as joined:
        async for event in joined:
            yield event if route is None else sse(event)
    if route is not None:
        yield "data: [DONE]\n\n"


class _End:
    """Marks the end of a stream, and how it ended."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


async def _pump(events: AsyncGenerator[Any, None], queue: asyncio.Queue[Any]) -> None:
    end = _End(RuntimeError("the stream was cut off"))
    try:
        async for event in events:
            queue.put_nowait(event)
        end = _End(None)
    except Exception as error:  # handed over whole to the one who reads the stream
        end = _End(error)
    finally:
        queue.put_nowait(end)
        await events.aclose()


def sse(event: object) -> str:
    """One server-sent event (WHATWG HTML, section 9.2) with a JSON payload."""
    return f"data: {json.dumps(event, ensure_ascii=False)}\n\n"

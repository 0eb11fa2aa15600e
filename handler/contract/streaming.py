"""Streams as the platform carries them: one awaited POST per event, so fewer and larger ones.

Events that come within a moment, or while a POST is under way, are joined into one. The first is
never held back.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

Event = TypeVar("Event")

MAX_JOINED_BYTES = 250_000  # in one event: far below the megabyte that the platform takes
JOIN_S = 0.05  # events that come within this are one: a reader sees no difference


@dataclass(frozen=True)
class Whole:
    """The whole answer of a plain job's stream, as it would be without one.

    It is the last thing that a stream yields, is never sent as an event, and becomes the job's
    output: who polls for a result gets an object, streamed or not.
    """

    answer: Any


async def coalesce(
    events: AsyncGenerator[Event, None],
    merge: Callable[[Event, Event], Event | None],
    lane: Callable[[Event], object] = lambda _: 0,
) -> AsyncGenerator[Event, None]:
    """Yield the first event at once, and later ones joined with those that come soon after.

    Args:
        events: the stream; closed when this one is.
        merge: joins two neighbours of a lane into one event, or returns None to keep them apart.
        lane: which events must stay in order; one without a lane (None) is passed by none.
    """
    queue: asyncio.Queue[Event | _End] = asyncio.Queue()
    pump = asyncio.create_task(_pump(events, queue))
    try:
        first = await queue.get()
        while not isinstance(first, _End):
            batch, end, size_bytes = [first], None, 0
            while end is None and size_bytes < MAX_JOINED_BYTES and not queue.empty():
                following = queue.get_nowait()
                if isinstance(following, _End):
                    end = following
                else:
                    batch.append(following)
                    size_bytes += len(json.dumps(following))
            shown = time.monotonic()
            for event in _joined(batch, merge, lane):
                yield event
            first = end or await queue.get()
            if end is None and not isinstance(first, _End):
                # No longer than the stream goes on.
                await asyncio.wait({pump}, timeout=max(0.0, shown + JOIN_S - time.monotonic()))
        if first.error is not None:
            raise first.error
    finally:
        pump.cancel()
        await asyncio.wait([pump])


def _joined(
    batch: Sequence[Event],
    merge: Callable[[Event, Event], Event | None],
    lane: Callable[[Event], object],
) -> list[Event]:
    """The events of a batch, each joined with its lane's last where that can be."""
    numbered: list[Event] = []
    last: dict[object, int] = {}
    for event in batch:
        where = lane(event)
        at = None if where is None else last.get(where)
        joined = None if at is None else merge(numbered[at], event)
        if at is not None and joined is not None:
            numbered[at] = joined
            continue
        if where is None:
            last.clear()
        else:
            last[where] = len(numbered)
        numbered.append(event)
    return numbered


async def to_client(
    events: AsyncGenerator[Any, None],
    merge: Callable[[Any, Any], Any],
    route: str | None,
    lane: Callable[[Any], object] = lambda _: 0,
    *,
    named: bool = False,
) -> AsyncGenerator[Any, None]:
    """Yield events as clients read them: objects, or server-sent events on an OpenAI route.

    ``named`` ones say their type, and the last of them is the last of the stream. On a plain job
    the ``Whole`` answer follows, where the events have one.
    """
    whole: Whole | None = None

    async def parts() -> AsyncGenerator[Any, None]:
        nonlocal whole
        async with aclosing(events):
            async for event in events:
                if isinstance(event, Whole):
                    whole = event
                else:
                    yield event

    async with aclosing(coalesce(parts(), merge, lane)) as joined:
        async for event in joined:
            yield event if route is None else sse(event, named=named)
    if route is not None and not named:
        yield "data: [DONE]\n\n"
    if route is None and whole is not None:
        yield whole


async def together(
    streams: Sequence[AsyncGenerator[Event, None]],
) -> AsyncGenerator[tuple[int, Event], None]:
    """Yield the events of several streams as they come, each with its stream's index.

    The first error ends all of them.
    """
    queue: asyncio.Queue[tuple[int, Event | _End]] = asyncio.Queue()

    def numbered(index: int, event: Any) -> tuple[int, Any]:
        return index, event

    pumps = [
        asyncio.create_task(_pump(stream, queue, partial(numbered, index)))
        for index, stream in enumerate(streams)
    ]
    left = len(pumps)
    try:
        while left:
            index, event = await queue.get()
            if not isinstance(event, _End):
                yield index, event
                continue
            left -= 1
            if event.error is not None:
                raise event.error
    finally:
        for pump in pumps:
            pump.cancel()
        if pumps:
            await asyncio.wait(pumps)


class _End:
    """Marks the end of a stream, and how it ended."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


async def _pump(
    events: AsyncGenerator[Any, None],
    queue: asyncio.Queue[Any],
    wrap: Callable[[Any], Any] = lambda event: event,
) -> None:
    end = _End(RuntimeError("the stream was cut off"))
    try:
        async for event in events:
            queue.put_nowait(wrap(event))
        end = _End(None)
    except Exception as error:  # handed over whole to the one who reads the stream
        end = _End(error)
    finally:
        queue.put_nowait(wrap(end))
        await events.aclose()


# Ends of lines to some readers of server-sent events, and none in JSON: U+0085, U+2028, U+2029.
_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


def sse(event: dict[str, Any], *, named: bool = False) -> str:
    """One server-sent event (WHATWG HTML, section 9.2) with a JSON payload.

    A ``named`` one has its ``type`` as the event's name.
    """
    name = f"event: {event['type']}\n" if named else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False).translate(_LINE_ENDS)}\n\n"

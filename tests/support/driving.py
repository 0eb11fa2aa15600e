"""Driving an engine by hand, without the batcher around it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from models.work import Unfinished

Load = Callable[[Any], Any]


class Ticket:
    """A ticket that remembers its events and can be cancelled at one of them."""

    def __init__(self, item: Any, cancel_at: int | None = None, kind: Any = None) -> None:
        self.item = item
        self.kind = kind
        self.events: list[Any] = []
        self.cancel_at = cancel_at

    @property
    def cancelled(self) -> bool:
        return self.cancel_at is not None and len(self.events) >= self.cancel_at

    def emit(self, event: Any, *, lasting: bool = True) -> None:
        self.events.append(event)


def prepare(engine: Any, request: Any) -> Any:
    """The only part of what the request asks of the device."""
    work = engine.prepare(request)
    work = asyncio.run(work) if asyncio.iscoroutine(work) else work
    [item] = work.parts
    return item


def run(engine: Any, request: Any) -> Any:
    work = engine.prepare(request)
    work = asyncio.run(work) if asyncio.iscoroutine(work) else work
    return work.finish(through(engine, [Ticket(part, kind=work.kind) for part in work.parts]))


def through(engine: Any, tickets: list[Ticket]) -> list[Any]:
    """The outputs; a part that is run in slices, to its end."""
    outputs = engine.run(tickets)
    while again := [at for at, one in enumerate(outputs) if isinstance(one, Unfinished)]:
        for at, output in zip(again, engine.run([tickets[at] for at in again]), strict=True):
            outputs[at] = output
    return outputs

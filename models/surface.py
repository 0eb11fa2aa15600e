"""The protocols between a surface and the engine that serves it.

An engine's life: ``load`` once, then for each request ``prepare`` (CPU work, may refuse this one
request), ``run`` (the device, many requests at once) and perhaps ``finish`` (CPU work on one
output), and ``close`` at the end. Engines take bytes and typed requests, never URLs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from models.hardware import Device
from models.row import Row

Item = TypeVar("Item", covariant=True)


class Ticket(Protocol, Generic[Item]):
    """One request on the device, as its engine sees it (``models.batch`` makes them)."""

    @property
    def item(self) -> Item:
        """What ``prepare`` returned."""

    @property
    def cancelled(self) -> bool:
        """True once nobody waits any more; an engine looks at every step and stops early."""

    def emit(self, event: object) -> None:
        """Hand an event (a token, a step done) to the one who streams; safe from any thread."""


class Engine(Protocol):
    """What serves one model. Its own module says which request, item and output it works with."""

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Make the engine from a local folder (or file) of weights; may take minutes."""

    def prepare(self, request: Any) -> Any:
        """Turn a request into an item for ``run``; raise a ``RequestError`` to refuse it.

        It runs in a thread of its own; as a coroutine function it runs on the event loop.
        """

    def mixes(self, batch: Sequence[Any], other: Any) -> bool:
        """Whether another item may join these in one ``run``."""

    def run(self, batch: Sequence[Ticket[Any]]) -> Sequence[Any]:
        """Run the device once; one output per ticket, in order, an exception for a failed one."""

    @property
    def finish(self) -> Callable[[Any], Any] | None:
        """Turns one output of ``run`` into the engine's answer; None when it is one already.

        It runs in a thread, beside the device; a hop that a job without such work is spared.
        """

    def close(self) -> None:
        """Let go of the device's memory."""

"""A request as its engine splits it into work for the device, and what comes back of it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item", covariant=True)


def only(outputs: Sequence[Any]) -> Any:
    """The answer of a request that is one part: that part's output."""
    [output] = outputs
    return output


class Stopped(Exception):
    """Ends, inside an engine, what nobody waits for."""


@dataclass(frozen=True)
class Work:
    """What one request asks of the device.

    Attributes:
        parts: what ``run`` gets, apart from each other: a text, a picture, a stretch of audio.
        sizes: of each part, in the unit of the engine's budget (tokens, say). Empty = 1 each.
        kind: parts share a run only with those of an equal kind; None = a part runs alone.
        finish: makes the engine's answer from the outputs, one per part and in their order.
        in_thread: whether ``finish`` is work worth a thread of its own.
        total: what the request takes in all, in the unit of the sizes, where its parts are run in
            slices and ``sizes`` are those of a slice; None = their sum.
    """

    parts: Sequence[Any]
    sizes: Sequence[int] = ()
    kind: Hashable = None
    finish: Callable[[Sequence[Any]], Any] = only
    in_thread: bool = False
    total: int | None = None


class Unfinished:
    """An output that is none yet: a slice is done, and the part goes on when it is its turn."""


@dataclass(frozen=True)
class Progress:
    """An event: how far one part of a request is.

    Attributes:
        part: its place in ``Work.parts``.
        done, total: in ``unit``.
        unit: ``steps``, ``tiles``.
    """

    part: int
    done: float
    total: float
    unit: str


class Ticket(Protocol, Generic[Item]):
    """One part on the device, as its engine sees it (``models.warm.batch`` makes them)."""

    @property
    def item(self) -> Item:
        """The part."""

    @property
    def kind(self) -> Hashable:
        """As its ``Work`` says; all that run together have the same."""

    @property
    def cancelled(self) -> bool:
        """True once nobody waits any more; an engine looks at every step and stops early."""

    def emit(self, event: object, *, lasting: bool = True) -> None:
        """Hand an event to the one who streams; safe from any thread.

        A ``lasting`` one is of the answer, whose work cannot begin again then; another may be told
        twice.
        """


@dataclass(frozen=True)
class Done:
    """The last event of a request of a ``StepEngine``; ``output`` is what it answers besides."""

    output: Any = None

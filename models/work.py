"""A request as its engine splits it into work for the device, and the results."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

Item = TypeVar("Item", covariant=True)


def only(outputs: Sequence[Any]) -> Any:
    """Return the output of a request's only part, as its answer."""
    [output] = outputs
    return output


class Stopped(Exception):
    """Raised inside an engine to end cancelled work."""


@dataclass(frozen=True)
class Work:
    """The work of one request on the device.

    Attributes:
        parts: the inputs of ``run``, independent of each other: a text, a picture, a stretch of
            audio.
        sizes: the size of each part, in the unit of the engine's budget (tokens, say). Empty = 1
            each.
        kind: parts share a run only with those of an equal kind; None = a part runs alone.
        finish: makes the engine's answer from the outputs, one per part and in their order.
        in_thread: whether ``finish`` takes long enough to run in a thread.
        total: the work of the whole request, if that is not the sum of ``sizes``; requests with
            less go first.
        sliced: whether the parts run in slices; ``sizes`` are those of a slice.
    """

    parts: Sequence[Any]
    sizes: Sequence[int] = ()
    kind: Hashable = None
    finish: Callable[[Sequence[Any]], Any] = only
    in_thread: bool = False
    total: float | None = None
    sliced: bool = False


class Unfinished:
    """The output of a part that has done a slice of its work, and continues in its turn."""


@dataclass(frozen=True)
class Progress:
    """An event: the progress of one part of a request.

    Attributes:
        part: its index in ``Work.parts``.
        done, total: the amount of work, in ``unit``.
        unit: ``steps``, ``tiles`` or ``seconds``.
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
        """The kind of its ``Work``; all parts of a run have the same."""

    @property
    def cancelled(self) -> bool:
        """Whether the request is cancelled; an engine checks at every step and stops early."""

    def emit(self, event: object, *, lasting: bool = True) -> None:
        """Send an event to the reader of the stream; safe from any thread.

        A ``lasting`` event is a part of the answer: after it, the work cannot start again. Other
        events may be repeated.
        """


@dataclass(frozen=True)
class Done:
    """The last event of a request of a ``StepEngine``; ``output`` is the request's answer."""

    output: Any = None

"""The protocols between a surface and the engine that serves it.

An engine's life: ``load`` once, then ``prepare`` for each request (CPU work, may refuse this one
request), its work on the device, and ``close`` at the end. There are two kinds of engines, by what
they do on the device:

Engine     runs a batch and returns. ``prepare`` says what a request asks as ``Work``: one part or
           many, which ``models.warm.batch`` mixes with the parts of other requests.
Stepping   takes many small steps, at each of which requests come and go: text, token by token.
           ``models.warm.steps`` lets them in and out.

Engines take bytes and typed requests, never URLs. A class method ``honours(row)`` may say, before
any load, in which fields a model differs from its surface (``Differences``). A class attribute
``libraries`` names the modules that a load imports.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

from models.device.hardware import Device
from models.errors import InvalidValue, RequestError, UnsupportedParameter
from models.row import Row

Item = TypeVar("Item", covariant=True)

# What a model's engine says of the surface's fields, by name: None = this model refuses it or
# leaves it out; else what there is to know besides the surface's limits, in JSON Schema's words.
Differences = Mapping[str, Mapping[str, Any] | None]


def only(outputs: Sequence[Any]) -> Any:
    """The answer of a request that is one part: that part's output."""
    [output] = outputs
    return output


class Stopped(Exception):
    """Ends, inside an engine, what nobody waits for."""


@dataclass(frozen=True)
class LeftOut:
    """A field that the model has no use for, and why; what the client is told of it."""

    param: str
    message: str


class Leniency:
    """What becomes of a request's fields that the model has no use for.

    A strict request is refused for one. Of any other it is left out, and the answer says so.
    """

    def __init__(self, strict: bool) -> None:
        self.left_out: list[LeftOut] = []
        self._strict = strict

    def leave_out(self, param: str, reason: str) -> None:
        """Do without a field; ``reason`` is a sentence without its full stop.

        Raises:
            UnsupportedParameter: the request is strict.
        """
        refusal = UnsupportedParameter(f"{reason}; leave it out.", param=param)
        self._tell(LeftOut(param, f"{reason}; it was left out."), refusal)

    def note(self, param: str, message: str) -> None:
        """Say how a field was understood; ``message`` is a sentence without its full stop."""
        self.left_out.append(LeftOut(param, f"{message}."))

    def adapt(self, param: str, reason: str) -> None:
        """Take the nearest value that there is; ``reason`` is a sentence without its full stop.

        Raises:
            InvalidValue: the request is strict.
        """
        refusal = InvalidValue(f"{param}: {reason}.", param=param)
        self._tell(LeftOut(param, f"{reason}."), refusal)

    def _tell(self, told: LeftOut, refusal: RequestError) -> None:
        if self._strict:
            raise refusal
        self.left_out.append(told)


@dataclass(frozen=True)
class Work:
    """What one request asks of the device.

    Attributes:
        parts: what ``run`` gets, apart from each other: a text, a picture, a stretch of audio.
        sizes: of each part, in the unit of the engine's budget (tokens, say). Empty = 1 each.
        kind: parts share a run only with those of an equal kind; None = a part runs alone.
        finish: makes the engine's answer from the outputs, one per part and in their order.
        beside: whether ``finish`` is work worth a thread of its own.
        total: what the request takes in all, in the unit of the sizes, where its parts are run in
            slices and ``sizes`` are those of a slice; None = their sum.
    """

    parts: Sequence[Any]
    sizes: Sequence[int] = ()
    kind: Hashable = None
    finish: Callable[[Sequence[Any]], Any] = only
    beside: bool = False
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


class Engine(Protocol):
    """What serves one model. Its own module says which request, part and output it works with."""

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Make the engine from a local folder (or file) of weights; may take minutes."""

    @property
    def budget(self) -> int | None:
        """The largest size of a run, padding included; None = no bound.

        A part that is larger runs alone.
        """

    @property
    def capacity(self) -> int:
        """How many requests of usual size a run holds."""

    @property
    def packs(self) -> bool:
        """Whether a run is as large as its parts together.

        Where it is not, each part is padded to the largest: parts of a like size run together. A
        run is filled up to a round size, unless an attribute ``rounds`` denies it.
        """

    def prepare(self, request: Any) -> Any:
        """Turn a request into ``Work``; raise a ``RequestError`` to refuse it.

        It runs in a thread of its own; as a coroutine function it runs on the event loop.
        """

    def run(self, batch: Sequence[Ticket[Any]]) -> Sequence[Any]:
        """Run the device once; one output per ticket, in order, an exception for a failed one.

        What takes long hands the device back with ``Unfinished``, and is run again in its turn. A
        part that fails then begins anew where it can.
        """

    def close(self) -> None:
        """Let go of the device's memory."""


@dataclass(frozen=True)
class Done:
    """The last event of a request of a stepping engine; ``output`` is what it answers besides."""

    output: Any = None


class Stepping(Protocol):
    """What serves one model step by step; all but ``prepare`` is called on the device's thread."""

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Make the engine from a local folder (or file) of weights; may take minutes."""

    @property
    def capacity(self) -> int:
        """How many requests of usual size a step serves."""

    def prepare(self, request: Any) -> Any:
        """Turn a request into what ``admit`` takes; raise a ``RequestError`` to refuse it."""

    def admit(self, key: int, item: Any) -> None:
        """Let a request in; one that finds no room waits inside, in its turn."""

    def drop(self, key: int) -> None:
        """Let go of a request, in or not, and of all that it holds.

        An engine that raises here is given up.
        """

    def step(self) -> Sequence[tuple[int, Any]]:
        """Take one step; returns events of requests by their keys, in order.

        A request's last event is ``Done``, or an exception for one that failed; then the engine has
        let go of it. What is raised fails every request that is in.
        """

    def close(self) -> None:
        """Let go of the device's memory."""

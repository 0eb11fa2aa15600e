"""The base of every engine: what serves one model.

An engine is loaded once. For each request ``prepare`` does the work that needs no device, and may
refuse this request. ``close`` ends it. What happens on the device depends on the kind of engine:

BatchEngine   runs a batch and returns. ``prepare`` returns the request as ``Work``: one part or
              more, which ``models.warm.batch`` runs together with parts of other requests.
StepEngine    takes many small steps, and requests come and go between them: text, token by token.
              ``models.warm.steps`` lets them in and out.

Engines take bytes and typed requests, never URLs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from models.device.hardware import Device
from models.operator import Operator
from models.row import Row
from models.work import Ticket

# The fields in which a model differs from its surface, by name. None: the model refuses the field
# or leaves it out. Otherwise: its own limits, as keywords of JSON Schema.
Differences = Mapping[str, Mapping[str, Any] | None]


class Engine(ABC):
    """What serves one model. Its own module says which requests it takes and what it answers.

    Attributes:
        libraries: the modules that ``load`` imports.
        prepare_in_thread: whether ``prepare`` takes long enough for a thread of its own; False if
            it is a coroutine function, which runs on the event loop.
        capacity: how many requests of usual size are on the device together.
    """

    libraries: ClassVar[tuple[str, ...]] = ()
    prepare_in_thread: ClassVar[bool] = True
    capacity: int = 1

    @property
    def counters(self) -> Mapping[str, float]:
        """What it has done so far, by the names of ``handler.doors.metrics``; they only grow."""
        return {}

    @classmethod
    def honours(cls, row: Row) -> Differences:
        """Return the fields in which a model differs from its surface; needs no load."""
        return {}

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row as the operator wants it and as it fits the machine; needs no load.

        Raises:
            ValueError: what the operator wants is not possible here; names the variable.
        """
        return row

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Make the engine from a local folder (or file) of weights; may take minutes."""

    @abstractmethod
    def prepare(self, request: Any) -> Any:
        """Do for a request what needs no device; raise a ``RequestError`` to refuse it."""

    @abstractmethod
    def close(self) -> None:
        """Free the device's memory."""


class BatchEngine(Engine):
    """An engine that runs batches; ``run`` and ``close`` are called on the device's thread.

    Attributes:
        budget: the largest size of a run, padding included; None = no bound. A larger part runs
            alone.
        packs: whether a run is as large as its parts together. If not, each part is padded to the
            largest, and parts of similar sizes run together.
        rounds: whether a run is filled up to a round size.
    """

    budget: int | None = None
    packs: bool = False
    rounds: bool = False

    @abstractmethod
    def run(self, batch: Sequence[Ticket[Any]]) -> Sequence[Any]:
        """Run the device once; return an output per ticket, in order; an exception fails its part.

        A long part returns ``Unfinished`` to let others run, and is run again in its turn. If it
        fails after that, it starts again from the beginning where it can.
        """


class StepEngine(Engine):
    """An engine that takes steps; all but ``prepare`` is called on the device's thread.

    ``prepare`` returns what ``admit`` takes.
    """

    @abstractmethod
    def admit(self, key: int, item: Any) -> None:
        """Let a request in; one for which there is no room waits inside, in its turn."""

    @abstractmethod
    def drop(self, key: int) -> None:
        """Let go of a request, in or not, and of all that it holds.

        An engine that raises here is given up.
        """

    @abstractmethod
    def step(self) -> Sequence[tuple[int, Any]]:
        """Take one step; return events of requests by their keys, in order.

        A request's last event is ``Done``, or an exception if it failed; by then the engine has let
        go of it. An exception raised here fails every request that is in.
        """

"""The base classes of engines. An engine serves one model.

An engine is loaded once. For each request ``prepare`` does the work that needs no device, and may
refuse the request. ``close`` frees the device. What happens on the device depends on the kind of
engine:

BatchEngine   runs batches. ``prepare`` returns the request as ``Work``: one part or more, which
              ``models.warm.batch`` runs together with parts of other requests.
StepEngine    takes many small steps, between which requests come and go: text, token by token.
              ``models.warm.steps`` admits and releases them.

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

# The fields in which a model differs from its surface, by name. None: the model refuses or ignores
# the field. Otherwise: the model's own limits, as keywords of JSON Schema.
Differences = Mapping[str, Mapping[str, Any] | None]


class Engine(ABC):
    """Serves one model. The engine's module documents its requests and answers.

    Attributes:
        libraries: the modules that ``load`` imports.
        prepare_in_thread: whether ``prepare`` takes long enough to run in a thread; False if it is
            a coroutine function, which runs on the event loop.
        capacity: how many requests of usual size run on the device together.
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
        """Return the fields in which a model differs from its surface; works without a load."""
        return {}

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row with the operator's options for it, adapted to the machine.

        Works without a load.

        Raises:
            ValueError: an option is not possible here; the message names the variable.
        """
        return row

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, row: Row, device: Device) -> Self:
        """Make the engine from a local folder (or file) of weights; may take minutes."""

    @abstractmethod
    def prepare(self, request: Any) -> Any:
        """Do the work for a request that needs no device; raise ``RequestError`` to refuse it."""

    def sleep(self) -> bool:
        """Give the device's memory back but keep the weights; return whether that is done.

        It is called on the device's thread while there is no request. An engine that cannot do so
        is closed instead.
        """
        return False

    def wake(self) -> None:
        """Take the device's memory again, after ``sleep``; one that raises is closed."""
        raise NotImplementedError

    @abstractmethod
    def close(self) -> None:
        """Free the device's memory."""


class BatchEngine(Engine):
    """An engine that runs batches; ``run`` and ``close`` are called on the device's thread.

    Attributes:
        budget: the largest size of a run, padding included; None = no limit. A larger part runs
            alone.
        packs: whether a run's size is the sum of its parts' sizes. If not, each part is padded to
            the largest, and parts of similar sizes run together.
        rounds: whether a run is padded to a round size.
        express: whether ``run`` may be called on a second thread, too, so that a short request need
            not wait for the end of a long one's run.
    """

    budget: int | None = None
    packs: bool = False
    rounds: bool = False
    express: bool = False

    @abstractmethod
    def run(self, batch: Sequence[Ticket[Any]]) -> Sequence[Any]:
        """Run the device once; return an output per ticket, in order.

        An exception as an output fails that part only. A long part may return ``Unfinished`` to let
        others run; it is run again in its turn. If it fails then, it starts again from the
        beginning, unless it has emitted lasting events.
        """


class StepEngine(Engine):
    """An engine that takes steps; all but ``prepare`` is called on the device's thread.

    ``prepare`` returns what ``admit`` takes.
    """

    @abstractmethod
    def admit(self, key: int, item: Any) -> None:
        """Admit a request; the engine queues it until there is room."""

    @abstractmethod
    def drop(self, key: int) -> None:
        """Release a request, admitted or queued, and all its memory.

        If this raises, the engine is closed and its device counts as lost.
        """

    @abstractmethod
    def step(self) -> Sequence[tuple[int, Any]]:
        """Take one step; return events of requests by their keys, in order.

        A request's last event is ``Done``, or an exception if it failed; by then the engine has
        released it. An exception raised here fails every admitted request.
        """

"""Run a batch on the device: what fails is halved, and what is out of memory made smaller.

A run that fails is split in halves until the failing part is alone, so that a bad part fails its
own request only. A run that is out of memory also lowers the budget of later runs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from models.device.failures import (
    Failure,
    attempt,
    is_device_lost,
    is_out_of_memory,
    translate,
)
from models.device.memory import Surplus, free_memory
from models.device.rounding import rounded
from models.engine import BatchEngine
from models.errors import EngineFailed, let_go
from models.warm.load import Load
from models.warm.ticket import Ticket

log = logging.getLogger(__name__)

_REGROWTH = 1.01  # factor by which a lowered budget grows after each large run that succeeds


class Runner:
    """Runs an engine's batches.

    Args:
        engine: its ``run`` is called on the thread that calls the runner's.
        load: counts the runs.

    Attributes:
        budget: the largest size of a run, padding included; infinite if there is no limit.
    """

    def __init__(self, engine: BatchEngine, load: Load) -> None:
        self._engine = engine
        self._load = load
        self._largest: float = engine.budget or math.inf
        self.budget = self._largest
        self._surplus = Surplus()

    def run(self, batch: Sequence[Ticket]) -> list[object]:
        """Run a batch; never raises, returns one outcome per ticket."""
        if not batch:
            return []
        if len(batch) > 1 and self._size(batch) > self.budget:  # lowered since the run was chosen
            return self._halves(batch)
        outcomes, failure = self._try(batch)
        if failure is not None and is_out_of_memory(failure):
            self._back_off(batch)
            # Retry once, now that memory is free. A part that has emitted events must not repeat.
            if len(batch) == 1 and not batch[0].emitted:
                outcomes, failure = self._try(batch)
        if failure is None:
            return outcomes
        if len(batch) == 1 or is_device_lost(failure):
            outcomes = [translate(failure)] * len(batch)
        else:
            outcomes = self._run_halves(batch, failure)
        let_go(failure)
        return outcomes

    def _run_halves(self, batch: Sequence[Ticket], failure: BaseException) -> list[object]:
        """Run the halves of a failed batch; parts that have emitted events fail at once."""
        log.warning("a run of %d failed (%s); halving it", len(batch), type(failure).__name__)
        begun = {ticket for ticket in batch if ticket.emitted}
        others = [ticket for ticket in batch if ticket not in begun]
        outcomes = iter(self.run(others) if len(others) < 2 else self._halves(others))
        return [translate(failure) if ticket in begun else next(outcomes) for ticket in batch]

    def _halves(self, batch: Sequence[Ticket]) -> list[object]:
        middle = len(batch) // 2
        return self.run(batch[:middle]) + self.run(batch[middle:])

    def _try(self, batch: Sequence[Ticket]) -> tuple[list[object], BaseException | None]:
        if all(ticket.unwanted for ticket in batch):
            return [None] * len(batch), None
        outputs = attempt(lambda: _checked(self._engine.run(batch), len(batch)))
        batch[0].pulse.beat()
        self._surplus.look()
        if isinstance(outputs, Failure):
            return [], outputs.error
        self._count(batch)
        if self._size(batch) > self.budget / 2:  # a small run is no evidence about large ones
            self.budget = min(self._largest, self.budget * _REGROWTH)
        return [translate(o) if isinstance(o, BaseException) else o for o in outputs], None

    def _back_off(self, batch: Sequence[Ticket]) -> None:
        """Free memory after a run was out of memory, and halve the budget.

        A single part does not lower the budget: it runs alone under any budget.
        """
        free_memory()  # called here, where no traceback holds the tensors any more
        if len(batch) > 1:
            self.budget = max(1, min(self.budget, self._size(batch) // 2))
            log.warning("out of memory; a run now holds at most %d", self.budget)

    def _size(self, batch: Sequence[Ticket]) -> int:
        """The batch's size in the budget's unit, padding included."""
        sizes = [ticket.size for ticket in batch]
        return sum(sizes) if self._engine.packs else len(sizes) * max(sizes)

    def _count(self, batch: Sequence[Ticket]) -> None:
        size = self._size(batch)
        padded = rounded(size) if self._engine.rounds else size
        self._load.add(sum(ticket.size for ticket in batch), padded)


def _checked(outputs: Sequence[object], expected: int) -> Sequence[object]:
    if len(outputs) != expected:
        raise EngineFailed(f"the engine returned {len(outputs)} outputs for {expected} requests")
    return outputs

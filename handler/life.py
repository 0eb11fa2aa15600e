"""A worker's life beside its answers: what it loads first, how much it takes at once."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace

from handler.acceptance import Accepted, Reception
from handler.caught import Caught
from handler.dispatch import Dispatcher
from handler.errors import error_object
from handler.settings.endpoint import Endpoint
from models.errors import QuartetError
from models.row import Row
from models.stages import line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Life:
    """Loads the model that most jobs will ask for.

    Attributes:
        reception: accepts jobs.
        dispatcher: answers those that are accepted.
        rehearses: whether a model that is warmed answers a warm-up request before the first job.
    """

    reception: Reception
    dispatcher: Dispatcher
    rehearses: bool = False

    @property
    def endpoint(self) -> Endpoint:
        """The surfaces and models that are served."""
        return self.reception.endpoint

    @property
    def lost(self) -> asyncio.Event:
        """Set when the device is lost: this worker can answer nothing any more."""
        return self.dispatcher.pool.lost

    @property
    def concurrency(self) -> int:
        """Jobs to take at once: as many as keep the device busy.

        A job that is taken is one that no other worker can have; so no more than that, and as long
        as the model is not loaded what its surface takes at least.
        """
        endpoint = self.endpoint
        least = endpoint.concurrency
        warm = [model.busy for model in self.dispatcher.pool.models()]
        return max(least, *warm) if endpoint.only and warm else least

    @property
    def expected(self) -> Row | None:
        """The model that most jobs will ask for, where the endpoint serves one surface."""
        endpoint = self.endpoint
        return None if endpoint.only is None else endpoint.pick(endpoint.only.name, None)

    def prefetch(self) -> None:
        """Begin to read the weights of the model that most jobs will ask for."""
        if (row := self.expected) is not None:
            self.dispatcher.pool.prefetch(row)

    async def warm(self, *, strict: bool = False) -> None:
        """Load the model that most jobs will ask for, and rehearse.

        Args:
            strict: raise where the rehearsal fails; else that is logged.

        Raises:
            QuartetError: it cannot be loaded.
        """
        if (row := self.expected) is not None:
            async with self.dispatcher.pool.lease(row) as borrowed:
                stages = borrowed.warm.start
            if self.rehearses:
                with stages.stage("warm"):
                    await self._rehearse(row, strict=strict)
            log.info("%s: its start took %s", row.slug, line(stages.seconds))

    async def _rehearse(self, row: Row, *, strict: bool = False) -> None:
        """Answer a warm-up request, so that the first job is as fast as the second.

        Kernels are chosen and compiled, memory is taken, modules are imported at first use. That
        it fails is logged: the job that fails so, too, will say why to somebody. With ``strict`` it
        raises QuartetError.
        """
        surface = self.endpoint.only
        rehearsal = None if surface is None else surface.rehearsal(row)
        if rehearsal is None:
            return
        route, body = rehearsal
        job = {"id": "rehearsal", "input": {"openai_route": route, "openai_input": body}}
        accepted = self.reception.accept(job)
        dispatcher = replace(self.dispatcher, bucket=None)  # nothing of it is kept
        with Caught() as failure:
            if not isinstance(accepted, Accepted):
                raise accepted.answer
            await dispatcher.answer(accepted)
            return
        message = f"the rehearsal failed: {error_object(failure.error)['message']}"
        if strict:
            raise QuartetError(message) from failure.error
        log.warning(message)

"""A lane: a thread that runs batches on the device, one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor

from models.warm.ticket import Ticket


class Lane:
    """A thread of the device, with the batch that it runs.

    Args:
        thread: runs the batches.

    Attributes:
        running: the batch that is on the device; empty between two runs.
    """

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self.thread = thread
        self.running: Sequence[Ticket] = ()
        self._task: asyncio.Task[None] | None = None

    @property
    def longest(self) -> float:
        """The most work of a request that has a part in the run; 0 between two runs."""
        return max((ticket.submission.total for ticket in self.running), default=0)

    def start(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Start to run batches, unless the lane does so already."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(work())

    async def close(self) -> None:
        """End the thread after its current run."""
        await asyncio.get_running_loop().run_in_executor(self.thread, _nothing)
        self.thread.shutdown(wait=False)


def _nothing() -> None:
    """Return at once: a thread that has called it is done with what it had to do before."""

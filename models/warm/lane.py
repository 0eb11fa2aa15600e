"""A lane: a thread that runs batches on the device, one after the other."""

from __future__ import annotations

import asyncio
from collections import Counter
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

    def longest(self, budget: float) -> float:
        """Return the most work of a long request in the run; 0 if there is none.

        A long request is one that does not end with this run, or has more work than ``budget``.
        """
        parts = Counter(ticket.submission for ticket in self.running)
        return max(
            (
                request.total
                for request, count in parts.items()
                if request.sliced or request.left > count or request.total > budget
            ),
            default=0.0,
        )

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

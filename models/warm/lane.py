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
        longest: the most work of a long request in the run: one that does not end with it, or has
            more work than the budget; 0 without any, and between two runs.
    """

    def __init__(self, thread: ThreadPoolExecutor) -> None:
        self.thread = thread
        self.longest = 0.0
        self._task: asyncio.Task[None] | None = None

    def begin(self, batch: Sequence[Ticket], budget: float) -> None:
        """Note the batch that runs now."""
        parts = Counter(ticket.submission for ticket in batch)
        self.longest = max(
            (
                request.total
                for request, count in parts.items()
                if request.sliced or request.left > count or request.total > budget
            ),
            default=0.0,
        )

    def end(self) -> None:
        """Note the end of a run."""
        self.longest = 0.0

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

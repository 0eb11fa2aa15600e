"""Gather requests, run the device once, settle every one of them.

One ``Batcher`` stands before each warm engine. It owns the engine's only device thread. While a
batch runs, requests queue; when it is done, all that queued and may mix go together. There is no
timer: an idle device never waits.

Every ticket is settled exactly once, whatever happens: with its output, with its own error, or by
cancellation. When a batch of several fails as a whole, its tickets run again one by one, so that
a bad request fails alone.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from models.errors import DeviceLost, EngineFailed, OutOfMemory, QuartetError
from models.surface import Engine

log = logging.getLogger(__name__)


class Ticket:
    """One request: its item, its future result, and the events on the way there."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.cancelled = False
        self.emitted = False
        self._loop = asyncio.get_running_loop()
        self.result: asyncio.Future[Any] = self._loop.create_future()
        self.events: asyncio.Queue[Any] = asyncio.Queue()

    def emit(self, event: object) -> None:
        """Hand an event to whoever streams this ticket; called from the device thread."""
        if self.cancelled:  # nobody listens, and the loop itself may be gone
            return
        self.emitted = True
        self._loop.call_soon_threadsafe(self.events.put_nowait, event)

    def cancel(self) -> None:
        """Nobody waits any more: the engine stops at its next look at ``cancelled``."""
        self.cancelled = True
        self.result.cancel()

    def settle(self, outcome: object) -> None:
        """Set the result, or the error if ``outcome`` is one."""
        if self.result.done():
            return
        if isinstance(outcome, BaseException):
            self.result.set_exception(outcome)
        else:
            self.result.set_result(outcome)


class Batcher:
    """Feeds one engine.

    Args:
        engine: the warm engine; ``run`` and ``close`` are called on one thread of ours only.
        max_jobs: how many requests one run may mix at most; 1 = never mix.
        name: names the device thread, for logs and profilers.
    """

    def __init__(self, engine: Engine, max_jobs: int, name: str = "engine") -> None:
        self._engine = engine
        self._max_jobs = max_jobs
        self._waiting: deque[Ticket] = deque()
        self._drain: asyncio.Task[None] | None = None
        self._device = ThreadPoolExecutor(1, thread_name_prefix=f"device-{name}")

    async def submit(self, item: Any) -> Any:
        """Run ``item`` and return its output; cancelling the caller cancels the work."""
        ticket = self._enqueue(item)
        try:
            return await ticket.result
        finally:
            ticket.cancelled = True

    async def stream(self, item: Any) -> AsyncGenerator[Any, None]:
        """Yield the events of ``item`` as they come, and its output last.

        Closing the iterator early cancels the work.
        """
        ticket = self._enqueue(item)
        try:
            while not (ticket.result.done() and ticket.events.empty()):
                event = asyncio.ensure_future(ticket.events.get())
                try:
                    await asyncio.wait({event, ticket.result}, return_when=asyncio.FIRST_COMPLETED)
                    if event.done():
                        yield event.result()
                finally:
                    event.cancel()
            yield ticket.result.result()
        finally:
            ticket.cancel()

    @property
    def waiting(self) -> int:
        """How many requests wait for the device."""
        return sum(not ticket.cancelled for ticket in self._waiting)

    async def close(self) -> None:
        """Close the engine once its device thread is idle, and give its memory back."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._device, self._engine.close)
        await loop.run_in_executor(self._device, free_memory)
        self._device.shutdown(wait=False)

    def _enqueue(self, item: Any) -> Ticket:
        ticket = Ticket(item)
        self._waiting.append(ticket)
        if self._drain is None or self._drain.done():
            self._drain = asyncio.create_task(self._run_all())
        return ticket

    async def _run_all(self) -> None:
        loop = asyncio.get_running_loop()
        while batch := self._gather():
            outcomes: Sequence[object]
            try:
                outcomes = await loop.run_in_executor(self._device, self._run, batch)
            except RuntimeError:  # the device thread is gone; those who wait still hear of it
                lost = EngineFailed("The engine was stopped before it ran this request.")
                outcomes = [lost] * len(batch)
            for ticket, outcome in zip(batch, outcomes, strict=True):
                ticket.settle(outcome)

    def _gather(self) -> list[Ticket]:
        """Take the oldest waiting ticket and, in order, all that may run with it."""
        batch: list[Ticket] = []
        left: deque[Ticket] = deque()
        while self._waiting and len(batch) < self._max_jobs:
            ticket = self._waiting.popleft()
            if ticket.cancelled:
                continue
            (batch if self._mixes(batch, ticket) else left).append(ticket)
        self._waiting.extendleft(reversed(left))
        return batch

    def _mixes(self, batch: Sequence[Ticket], ticket: Ticket) -> bool:
        if not batch:
            return True
        try:
            return self._engine.mixes([one.item for one in batch], ticket.item)
        except Exception as error:  # an item that cannot even be compared runs alone
            log.warning("mixes failed (%s)", type(error).__name__)
            return False

    def _run(self, batch: Sequence[Ticket]) -> list[object]:
        """Run on the device thread; never raises, returns one outcome per ticket."""
        outcomes, failure = self._try(batch)
        if failure is None:
            return outcomes
        if is_out_of_memory(failure):
            free_memory()  # here, where no traceback holds the tensors any more
        if len(batch) == 1 or any(ticket.emitted for ticket in batch):
            return [translate(failure)] * len(batch)
        log.warning("a batch of %d failed; running it one by one", len(batch))
        return [None if ticket.cancelled else self._run([ticket])[0] for ticket in batch]

    def _try(self, batch: Sequence[Ticket]) -> tuple[list[object], BaseException | None]:
        try:
            outputs = _checked(self._engine.run(batch), len(batch))
        # The boundary to foreign code. A panic in a Rust library is a BaseException.
        except BaseException as error:
            return [], error.with_traceback(None) if is_out_of_memory(error) else error
        return [translate(o) if isinstance(o, BaseException) else o for o in outputs], None


def _checked(outputs: Sequence[object], expected: int) -> Sequence[object]:
    if len(outputs) != expected:
        raise EngineFailed(f"the engine returned {len(outputs)} outputs for {expected} requests")
    return outputs


def translate(error: BaseException) -> QuartetError:
    """Give a foreign error its name; the original stays in the log, not in the answer."""
    if isinstance(error, QuartetError):
        return error
    if is_out_of_memory(error):
        return OutOfMemory(
            "The device ran out of memory for this request. Send a smaller one "
            "(fewer or shorter inputs, a smaller size, a smaller n)."
        )
    log.error("engine failure", exc_info=error)
    if "CUDA error" in str(error):  # torch's words for errors that stay, a device-side assert first
        return DeviceLost("The GPU failed on this request; the worker restarts. Send it again.")
    return EngineFailed("The model failed on this request. The worker's log has the details.")


def is_out_of_memory(error: BaseException) -> bool:
    """Recognise torch's, ctranslate2's, onnxruntime's and Python's out-of-memory errors."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "out of memory" in str(error).lower()


def free_memory() -> None:
    """Return what nobody uses any more, also what torch's allocator keeps for itself."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()

"""The warm models: load once, lend, evict by memory budget.

A model is loaded once however many jobs ask for it at the same moment, and stays warm. When a
load would pass the budget, idle models go, the least recently used first; a model in use never
does. If that is not enough, the one who asks waits until something falls idle, and those who come
later wait behind it, so that a busy model cannot starve another.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from models.device.failures import Failure, attempt, is_out_of_memory, translate
from models.errors import ModelDoesNotFit, ModelLoadFailed, OutOfMemory, QuartetError
from models.row import Row
from models.surface import Engine, Work
from models.warm.batch import Batcher, Load

log = logging.getLogger(__name__)


class Warm:
    """A loaded model: its engine, and the one way to run it."""

    def __init__(self, row: Row, engine: Any, max_jobs: int, device: ThreadPoolExecutor) -> None:
        self.row = row
        self.engine = engine
        self._batcher = Batcher(engine, max_jobs, device)
        beside = not inspect.iscoroutinefunction(engine.prepare)
        self._prepare = partial(_beside, engine.prepare) if beside else engine.prepare

    async def run(self, request: Any) -> Any:
        """Prepare, run and finish one request; returns the engine's answer."""
        work: Work = await self._prepare(request)
        outputs = await self._batcher.submit(work)
        if work.beside:
            return await _beside(work.finish, outputs)
        return work.finish(outputs)

    async def stream(self, request: Any) -> AsyncGenerator[Any, None]:
        """Prepare and run one request, yielding the engine's events and its output last."""
        work: Work = await self._prepare(request)
        events = self._batcher.stream(work)
        try:
            async for event in events:
                yield event
        finally:
            await events.aclose()

    @property
    def waiting(self) -> int:
        """How many requests wait for the device."""
        return self._batcher.waiting

    @property
    def load(self) -> Load:
        """What the device has done so far."""
        return self._batcher.load

    @property
    def budget(self) -> float:
        """The largest padded size of a run at present; infinite without a bound."""
        return self._batcher.budget

    async def close(self) -> None:
        """Free the device once it is idle."""
        await self._batcher.close()


async def _beside(step: Callable[[Any], Any], value: Any) -> Any:
    """Run an engine's CPU step in a thread.

    A panic in a Rust library is no ``Exception``; it becomes one, so that it cannot pass the places
    that answer for every job.
    """
    outcome = await asyncio.to_thread(attempt, partial(step, value))
    if not isinstance(outcome, Failure):
        return outcome
    error = outcome.error
    raise error if isinstance(error, Exception) else translate(error)


class _Entry:
    """A model's place in the pool."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.warm: Warm | None = None
        self.loading: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None
        self.borrowers = 0
        self.last_used = 0.0

    @property
    def idle(self) -> bool:
        """Loaded, lent to nobody, and staying."""
        return self.warm is not None and self.borrowers == 0 and self.closing is None


class Pool:
    """Lends warm models.

    Args:
        load: makes an engine from a row; called on the engine's own thread, may take minutes.
        budget_bytes: memory that all models may take together.
        max_jobs: how many jobs one run may mix at most.
    """

    def __init__(self, load: Callable[[Row], Engine], budget_bytes: int, max_jobs: int) -> None:
        self._load = load
        self._budget_bytes = budget_bytes
        self._max_jobs = max_jobs
        self._entries: dict[str, _Entry] = {}
        self._line = asyncio.Lock()  # first come, first served, also for memory
        self._changed = asyncio.Event()

    @property
    def warm(self) -> list[str]:
        """The slugs of the loaded models."""
        return [warm.row.slug for warm in self.models()]

    def models(self) -> list[Warm]:
        """The loaded models."""
        entries = [entry.warm for entry in self._entries.values()]
        return [warm for warm in entries if warm is not None]

    @asynccontextmanager
    async def lease(self, row: Row) -> AsyncIterator[Warm]:
        """Lend a model, loading it first if need be.

        Raises:
            ModelDoesNotFit: it is larger than the whole budget.
            QuartetError: what its load raised; the next lease tries afresh.
        """
        async with self._line:
            entry = self._entries.get(row.slug)
            if entry is not None and entry.closing is not None:
                await asyncio.shield(entry.closing)
                entry = None
            if entry is None:
                entry = await self._admit(row)
            entry.borrowers += 1
        try:
            yield await self._loaded(entry)
        finally:
            entry.borrowers -= 1
            entry.last_used = time.monotonic()
            self._changed.set()

    async def _admit(self, row: Row) -> _Entry:
        """Make room and a place for a model; the caller holds the line."""
        if row.memory_bytes > self._budget_bytes:
            raise ModelDoesNotFit(row.slug, row.memory_bytes, self._budget_bytes)
        while sum(one.row.memory_bytes for one in self._entries.values()) + row.memory_bytes > (
            self._budget_bytes
        ):
            idle = [one for one in self._entries.values() if one.idle]
            if idle:
                await self._evict(min(idle, key=lambda one: one.last_used))
            else:
                self._changed.clear()
                await self._changed.wait()
        entry = self._entries[row.slug] = _Entry(row)
        entry.loading = asyncio.create_task(self._fill(entry))
        entry.loading.add_done_callback(_retrieve)
        return entry

    async def _loaded(self, entry: _Entry) -> Warm:
        if entry.warm is None and entry.loading is not None:
            # Shielded: one caller's cancellation must not undo the load that others wait for.
            await asyncio.shield(entry.loading)
        if entry.warm is None:
            raise ModelLoadFailed(f"{entry.row.slug} was stopped while it loaded; send it again.")
        return entry.warm

    async def _fill(self, entry: _Entry) -> None:
        row, start = entry.row, time.monotonic()
        log.info("%s: loading", row.slug)
        # Loaded where it will run. OpenMP keeps a team of threads for every thread that has once
        # computed, and lets all of them doze between two steps when they outnumber the cores.
        device = ThreadPoolExecutor(1, thread_name_prefix=f"device-{row.slug}")
        try:
            engine = await asyncio.get_running_loop().run_in_executor(device, self._load, row)
        except BaseException as error:
            device.shutdown(wait=False)
            del self._entries[row.slug]
            self._changed.set()
            if isinstance(error, QuartetError) or not isinstance(error, Exception):
                raise
            raise _load_error(row, error) from error
        entry.warm = Warm(row, engine, self._max_jobs, device)
        entry.loading = None
        entry.last_used = time.monotonic()
        self._changed.set()
        log.info("%s: warm after %.1f s", row.slug, time.monotonic() - start)

    async def _evict(self, entry: _Entry) -> None:
        """Close a model; its memory counts as taken until it is really gone.

        The closing is the pool's own task: who waits for it may be cancelled, it may not.
        """
        entry.closing = asyncio.create_task(self._close(entry))
        await asyncio.shield(entry.closing)

    async def _close(self, entry: _Entry) -> None:
        try:
            if entry.warm is not None:
                await entry.warm.close()
        finally:
            del self._entries[entry.row.slug]
            self._changed.set()
        log.info("%s: unloaded", entry.row.slug)


def _retrieve(task: asyncio.Task[None]) -> None:
    """Look at a load's error, which nobody may be left to hear; it is in the log."""
    if not task.cancelled():
        task.exception()


def _load_error(row: Row, error: Exception) -> QuartetError:
    log.error("%s: load failed", row.slug, exc_info=error)
    if is_out_of_memory(error):
        return OutOfMemory(f"The device ran out of memory while {row.slug} loaded.")
    return ModelLoadFailed(f"{row.slug} could not be loaded; the worker's log has the details.")

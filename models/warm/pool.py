"""The warm models: loaded once, leased to jobs, evicted when memory runs short.

Concurrent jobs share one load of a model, and the model stays warm. When a load would exceed the
memory budget, idle models are evicted, the least recently used first; a leased model never is. If
no model is idle, the job waits until one is. Later jobs that need memory queue behind it, so that a
busy model cannot starve another.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial

from models.engine import Engine
from models.errors import DeviceLost, ModelDoesNotFit, ModelLoadFailed
from models.row import Row
from models.stages import Recorder, line, recording
from models.warm.load_errors import load_error, may_want_memory, retrieve
from models.warm.model import Borrowed, Warm
from models.warm.sleepers import Sleepers
from models.warm.ticket import NEVER, Deadline
from models.warm.watch import HUNG_AFTER_S

log = logging.getLogger(__name__)


class _Entry:
    """A model in the pool: loading, loaded or closing."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.warm: Warm | None = None
        self.loading: asyncio.Task[None] | None = None
        self.closing: asyncio.Task[None] | None = None
        self.borrowers = 0
        self.last_used = 0.0

    @property
    def stays(self) -> bool:
        """Whether the model is loaded or loading, and not being closed."""
        return self.closing is None

    @property
    def idle(self) -> bool:
        """Whether the model is loaded, without a lease, and not being closed."""
        return self.warm is not None and self.borrowers == 0 and self.stays

    def loaded(self) -> Warm:
        """Return the model after its load.

        Raises:
            ModelLoadFailed: the load was stopped.
        """
        if self.warm is None:
            raise ModelLoadFailed(f"{self.row.slug} was stopped while it loaded; send it again.")
        return self.warm


class Pool:
    """Leases warm models.

    Args:
        load: makes an engine from a row; called on the engine's own thread, may take minutes.
        budget_bytes: memory that all models may take together.
        max_jobs: the largest number of jobs whose parts one run may mix.
        hung_after_s: how long an engine may be silent after its requests' deadlines.
        prefetch: starts to read the files that ``load`` needs, and returns at once.
        begin: called first on each engine's thread.

    Attributes:
        budget_bytes: as passed in.
        lost: set when the device is lost; only a new process can use it again.
    """

    def __init__(
        self,
        load: Callable[[Row], Engine],
        budget_bytes: int,
        max_jobs: int,
        hung_after_s: float = HUNG_AFTER_S,
        prefetch: Callable[[Row], None] = lambda _: None,
        begin: Callable[[], None] = lambda: None,
    ) -> None:
        self._load = load
        self.prefetch = prefetch
        self._begin = begin
        self.budget_bytes = budget_bytes
        self._max_jobs = max_jobs
        self._hung_after_s = hung_after_s
        self._entries: dict[str, _Entry] = {}
        self._sleepers = Sleepers()
        self.lost = asyncio.Event()
        self._lost_by: DeviceLost | None = None
        self._waiting: set[asyncio.Timeout] = set()  # for memory, or for a load
        self._line = asyncio.Lock()  # first come, first served, for loads and for memory
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
    async def lease(self, row: Row, deadline: Deadline = NEVER) -> AsyncIterator[Borrowed]:
        """Lease a model; load it first if it is not loaded.

        Raises:
            ModelDoesNotFit: the model is larger than the whole budget.
            DeviceLost: the device is lost, so no model can run any more.
            QuartetError: the load failed; the next lease tries again.
        """
        if self._lost_by is not None:
            raise self._lost_by
        entry = self._entries.get(row.slug)
        if entry is None or not entry.stays or self._line.locked():
            async with self._unless_lost():
                entry = await self._enter(row)
        entry.borrowers += 1
        try:
            if entry.loading is not None:
                async with self._unless_lost():
                    # Shielded: cancelling one caller must not cancel the load that others wait for.
                    await asyncio.shield(entry.loading)
            yield Borrowed(entry.loaded(), deadline)
        finally:
            entry.borrowers -= 1
            entry.last_used = time.monotonic()
            self._changed.set()

    @asynccontextmanager
    async def _unless_lost(self) -> AsyncIterator[None]:
        """Run the block; raise ``DeviceLost`` as soon as the device is lost."""
        try:
            async with asyncio.timeout(None) as scope:
                self._waiting.add(scope)
                yield
        except TimeoutError:
            if self._lost_by is not None and scope.expired():
                raise self._lost_by from None
            raise
        finally:
            self._waiting.discard(scope)

    async def _enter(self, row: Row) -> _Entry:
        """Return a model's entry, when it is our turn; the caller leases it without awaiting."""
        async with self._line:
            entry = self._entries.get(row.slug)
            if entry is not None and entry.closing is not None:
                await asyncio.shield(entry.closing)
                entry = None
            return entry or await self._admit(row)

    async def _admit(self, row: Row) -> _Entry:
        """Evict models until a model fits, and start its load; the caller holds ``_line``."""
        if row.memory_bytes > self.budget_bytes:
            raise ModelDoesNotFit(row.slug, row.memory_bytes, self.budget_bytes)
        while sum(other.row.memory_bytes for other in self._entries.values()) + row.memory_bytes > (
            self.budget_bytes
        ):
            idle = [other for other in self._entries.values() if other.idle]
            if idle:
                await self._evict(min(idle, key=lambda entry: entry.last_used))
            else:
                self._changed.clear()
                await self._changed.wait()
        entry = self._entries[row.slug] = _Entry(row)
        entry.loading = asyncio.create_task(self._fill(entry))
        entry.loading.add_done_callback(retrieve)
        return entry

    async def _fill(self, entry: _Entry) -> None:
        row = entry.row
        try:
            entry.warm = await self._sleepers.wake(row.slug) or await self._loaded(row)
        except BaseException as error:
            del self._entries[row.slug]
            self._changed.set()
            if not isinstance(error, Exception):
                raise
            named = load_error(row, error)
            if isinstance(named, DeviceLost):
                self._lose(named)
            raise named from (None if named is error else error)
        entry.loading = None
        entry.last_used = time.monotonic()
        self._changed.set()
        if row.notice is not None:
            log.warning("%s", row.notice)

    async def _loaded(self, row: Row) -> Warm:
        """Load a model; once more without the sleeping ones, if it fails for want of memory."""
        start = time.monotonic()
        log.info("%s: loading", row.slug)
        # Load on the thread that will run the model. OpenMP keeps a team of threads for every
        # thread that has computed once, and when all the teams together outnumber the cores it
        # lets their threads sleep between two steps.
        device = ThreadPoolExecutor(1, f"device-{row.slug}", self._begin)
        load = partial(asyncio.get_running_loop().run_in_executor, device, self._recorded, row)
        try:
            try:
                engine, stages = await load()
            except Exception as error:
                if not self._sleepers or not may_want_memory(error):
                    raise
                log.warning("%s: loading again, without models that sleep: %s", row.slug, error)
                await self._sleepers.close()
                engine, stages = await load()
        except BaseException:
            device.shutdown(wait=False)
            raise
        after_s = time.monotonic() - start
        log.info("%s: warm after %.1f s (%s)", row.slug, after_s, line(stages.seconds))
        return Warm(row, engine, self._max_jobs, device, self._lose, self._hung_after_s, stages)

    def _recorded(self, row: Row) -> tuple[Engine, Recorder]:
        """Load an engine on its own thread, and record how long each stage takes."""
        with recording() as stages:
            return self._load(row), stages

    def _lose(self, error: DeviceLost) -> None:
        """Mark the device as lost for every model: all of them use the same device."""
        if self._lost_by is not None:
            return
        self._lost_by = error
        self.lost.set()
        for scope in self._waiting:
            scope.reschedule(0)
        self._sleepers.lose(error)
        for warm in self.models():
            warm.lose(error)

    async def _evict(self, entry: _Entry) -> None:
        """Put a model to sleep, or close it; until then its memory counts as used.

        The pool owns the closing task: cancelling a job that waits for it must not cancel it.
        """
        entry.closing = asyncio.create_task(self._close(entry))
        await asyncio.shield(entry.closing)

    async def _close(self, entry: _Entry) -> None:
        try:
            if entry.warm is not None and not await self._sleepers.put(entry.warm):
                await entry.warm.close()
                log.info("%s: unloaded", entry.row.slug)
        except DeviceLost as error:
            self._lose(error)
        finally:
            del self._entries[entry.row.slug]
            self._changed.set()

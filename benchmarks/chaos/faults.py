"""Carries out the schedule of faults."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.chaos.history import Span
from benchmarks.chaos.plans import LINK_FAULTS, Fault
from benchmarks.chaos.processes import PlatformProcess, WorkerSlot, fill
from benchmarks.chaos.proxy import Link


@dataclass
class Injector:
    """Breaks things, and mends them.

    Attributes:
        links: the proxies, by the names that faults use.
        workers: the places of workers, by name.
        platform: the platform.
        now_s: returns the time of the run.
        spans: the faults that were carried out.
    """

    links: Mapping[str, Link]
    workers: Mapping[str, WorkerSlot]
    platform: PlatformProcess
    now_s: Callable[[], float]
    spans: list[Span] = field(default_factory=list)

    async def carry_out(self, schedule: Sequence[Fault]) -> None:
        """Begin each fault at its time; end when all are over. A cancellation mends everything."""
        try:
            async with asyncio.TaskGroup() as group:
                for fault in schedule:
                    await asyncio.sleep(max(0.0, fault.at_s - self.now_s()))
                    group.create_task(self._one(fault))
        finally:
            for link in self.links.values():
                link.set_mode("pass")
            for worker in self.workers.values():
                worker.signal(signal.SIGCONT)

    async def _one(self, fault: Fault) -> None:
        begin_s = self.now_s()
        # Open until it is over: the checker may need it before that.
        try:
            if fault.kind in LINK_FAULTS:
                await self._on_link(fault)
            elif fault.target == "platform":
                await self._on_platform(fault)
            else:
                await self._on_worker(fault)
        finally:
            self.spans.append(Span(fault, begin_s, self.now_s()))

    async def _on_link(self, fault: Fault) -> None:
        link = self.links[fault.target]
        link.set_mode(fault.kind)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            link.set_mode("pass")

    async def _on_platform(self, fault: Fault) -> None:
        await self.platform.end(signal.SIGKILL if fault.kind == "crash" else signal.SIGTERM)
        try:
            await asyncio.sleep(fault.seconds)
        finally:
            await self.platform.start()

    async def _on_worker(self, fault: Fault) -> None:
        worker = self.workers[fault.target]
        if fault.kind == "kill":
            worker.signal(signal.SIGKILL)
        elif fault.kind == "term":
            worker.signal(signal.SIGTERM)
        elif fault.kind == "stop":
            worker.signal(signal.SIGSTOP)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                worker.signal(signal.SIGCONT)
        elif fault.kind == "disk":
            filler = fill(worker.lives[-1].folder)
            try:
                await asyncio.sleep(fault.seconds)
            finally:
                if filler is not None:
                    filler.unlink(missing_ok=True)
        else:
            raise ValueError(f"no fault is called {fault.kind}")

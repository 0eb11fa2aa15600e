"""Carries out the schedule of faults."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from benchmarks.chaos.history import Span
from benchmarks.chaos.network import drop, let_pass
from benchmarks.chaos.plans import LINK_FAULTS, Fault
from benchmarks.chaos.processes import PlatformProcess, WorkerSlot, fill
from benchmarks.chaos.proxy import Link

_ENDS_S = 90.0  # by then a worker has ended that lost its device, though it be stopped meanwhile
_LOOK_S = 0.1


@dataclass
class Injector:
    """Breaks things, and mends them.

    Attributes:
        links: the proxies, by the names that faults use.
        workers: the places of workers, by name.
        platform: the platform.
        now_s: returns the time of the run.
        spans: the faults that were carried out.
        unended: workers that run on without their device, in words.
    """

    links: Mapping[str, Link]
    workers: Mapping[str, WorkerSlot]
    platform: PlatformProcess
    now_s: Callable[[], float]
    spans: list[Span] = field(default_factory=list)
    unended: list[str] = field(default_factory=list)

    async def carry_out(self, schedule: Sequence[Fault]) -> None:
        """Begin each fault at its time; end when all are over. A cancellation mends everything."""
        async with asyncio.TaskGroup() as group:
            for fault in schedule:
                await asyncio.sleep(max(0.0, fault.at_s - self.now_s()))
                group.create_task(self._one(fault))

    async def _one(self, fault: Fault) -> None:
        begin_s = self.now_s()
        # Open until it is over: the checker may need it before that.
        try:
            async with self._under(fault):
                await asyncio.sleep(fault.seconds)
        finally:
            self.spans.append(Span(fault, begin_s, self.now_s()))

    def _under(self, fault: Fault) -> AbstractAsyncContextManager[None]:
        """Return a block in which the fault is there.

        Raises:
            ValueError: no fault has its name.
        """
        if fault.kind in LINK_FAULTS:
            return self._link(fault)
        kinds: dict[str, Callable[[Fault], AbstractAsyncContextManager[None]]] = {
            "crash": self._platform_is_away,
            "restart": self._platform_is_away,
            "kill": self._signalled,
            "term": self._signalled,
            "stop": self._signalled,
            "disk": self._disk_is_full,
            "tight": self._has_little_memory,
            "memory": self._has_little_memory,
            "device": self._device_is_lost,
            "dns": self._name_is_unknown,
            "dns late": self._name_is_unknown,
            "partition": self._packets_are_dropped,
            "clock": self._clock_is_wrong,
        }
        if fault.kind not in kinds:
            raise ValueError(f"no fault is called {fault.kind}")
        return kinds[fault.kind](fault)

    @asynccontextmanager
    async def _link(self, fault: Fault) -> AsyncIterator[None]:
        link = self.links[fault.target]
        link.set_mode(fault.kind)
        try:
            yield
        finally:
            link.set_mode("pass")

    @asynccontextmanager
    async def _platform_is_away(self, fault: Fault) -> AsyncIterator[None]:
        await self.platform.end(signal.SIGKILL if fault.kind == "crash" else signal.SIGTERM)
        try:
            yield
        finally:
            await self.platform.start()

    @asynccontextmanager
    async def _signalled(self, fault: Fault) -> AsyncIterator[None]:
        worker = self.workers[fault.target]
        numbers = {"kill": signal.SIGKILL, "term": signal.SIGTERM, "stop": signal.SIGSTOP}
        worker.signal(numbers[fault.kind])
        try:
            yield
        finally:
            worker.signal(signal.SIGCONT)

    @asynccontextmanager
    async def _disk_is_full(self, fault: Fault) -> AsyncIterator[None]:
        filler = fill(self.workers[fault.target].lives[-1].folder)
        try:
            yield
        finally:
            if filler is not None:
                filler.unlink(missing_ok=True)

    @asynccontextmanager
    async def _has_little_memory(self, fault: Fault) -> AsyncIterator[None]:
        control = self.workers[fault.target].control
        control.write(memory="tight" if fault.kind == "tight" else "none")
        try:
            yield
        finally:
            control.write(memory=None)

    @asynccontextmanager
    async def _clock_is_wrong(self, fault: Fault) -> AsyncIterator[None]:
        """Let a clock jump there, and back."""
        on_platform = fault.target == "platform"
        control = (self.platform if on_platform else self.workers[fault.target]).control
        control.write(clock_s=fault.jump_s)
        try:
            yield
        finally:
            control.write(clock_s=None)

    @asynccontextmanager
    async def _name_is_unknown(self, fault: Fault) -> AsyncIterator[None]:
        """Let a worker not find the platform, or all workers not find a server."""
        alone = self.workers.get(fault.target)
        controls = [worker.control for worker in ([alone] if alone else self.workers.values())]
        port, mode = str(self.links[fault.target].port), "fail" if fault.kind == "dns" else "late"
        for control in controls:
            control.write(names={**control.read().get("names", {}), port: mode})
        try:
            yield
        finally:
            for control in controls:
                names = dict(control.read().get("names", {}))
                names.pop(port, None)
                control.write(names=names)

    @asynccontextmanager
    async def _packets_are_dropped(self, fault: Fault) -> AsyncIterator[None]:
        port = self.links[fault.target].port
        drop(port)
        try:
            yield
        finally:
            let_pass(port)

    @asynccontextmanager
    async def _device_is_lost(self, fault: Fault) -> AsyncIterator[None]:
        """Take the device from a worker's process, which has to end by itself."""
        worker = self.workers[fault.target]
        life, until_s = worker.lives[-1], self.now_s() + _ENDS_S
        worker.control.write(device=life.worker_id)
        try:
            yield
            while life.process.poll() is None and self.now_s() < until_s:  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)
            if life.process.poll() is None:
                self.unended.append(f"{life.worker_id} runs on without its device")
        finally:
            worker.control.write(device=None)

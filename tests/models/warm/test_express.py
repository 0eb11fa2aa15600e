"""The express lane: short requests beside a long one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest

from models.engine import BatchEngine
from models.errors import DeviceLost, OutOfMemory
from models.warm.batch import Batcher
from models.warm.scheduler import Scheduler
from models.warm.ticket import Deadline, Submission
from models.work import Unfinished, Work

pytestmark = pytest.mark.anyio


class Engine(BatchEngine):
    """Answers at once, but for long requests: their runs wait until the test lets them go on.

    Attributes:
        runs: the items of each run, in order of their beginnings.
        at_once: the most runs at a time.
    """

    express = True
    budget = 64

    def __init__(self, *, packs: bool = True) -> None:
        self.packs = packs
        self.go_on = threading.Event()
        self.runs: list[list[str]] = []
        self.at_once = 0
        self.closed = False
        self._busy = 0
        self._lock = threading.Lock()

    @classmethod
    def load(cls, folder: Any, row: Any, device: Any) -> Engine:
        return cls()

    def prepare(self, request: Work) -> Work:
        return request

    def run(self, batch: Sequence[Any]) -> list[Any]:
        items = [ticket.item for ticket in batch]
        with self._lock:
            self.runs.append(items)
            self._busy += 1
            self.at_once = max(self.at_once, self._busy)
        try:
            return self.act(batch)
        finally:
            with self._lock:
                self._busy -= 1

    def act(self, batch: Sequence[Any]) -> list[Any]:
        if any(ticket.item.startswith("long") for ticket in batch):
            assert self.go_on.wait(10)
        return [ticket.item.upper() for ticket in batch]

    def close(self) -> None:
        self.closed = True


def request(name: str, *sizes: int) -> Work:
    return Work([name] * len(sizes), sizes, kind="text", finish=list)


def long(name: str = "long") -> Work:
    return request(name, *[32] * 8)


async def begun(engine: Engine, batcher: Batcher, *works: Work) -> list[asyncio.Task[Any]]:
    """Send requests, and wait until the first is on the device."""
    tasks = [asyncio.create_task(batcher.submit(work)) for work in works]
    async with asyncio.timeout(5):
        while not engine.runs:
            await asyncio.sleep(0.001)
    return tasks


@pytest.mark.parametrize("packs", [True, False])
async def test_a_short_request_runs_beside_a_long_one(packs):
    engine = Engine(packs=packs)
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, long())
    for number in range(3):
        assert await batcher.submit(request(f"short {number}", 4)) == [f"SHORT {number}"]
    assert not task.done()
    engine.go_on.set()
    assert await task == ["LONG"] * 8
    assert engine.at_once == 2
    assert batcher.load.runs == len(engine.runs) == 7
    assert batcher.load.size == 8 * 32 + 3 * 4


async def test_an_engine_that_forbids_it_runs_them_one_after_the_other():
    engine = Engine()
    engine.express = False
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, long())
    short = asyncio.create_task(batcher.submit(request("short", 4)))
    await asyncio.sleep(0.05)
    assert not short.done()
    engine.go_on.set()
    assert await short == ["SHORT"]
    assert await task == ["LONG"] * 8
    assert engine.at_once == 1


async def test_a_request_of_half_the_work_runs_beside_and_a_larger_one_waits():
    engine = Engine()
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, request("long", 30, 30, 30))
    larger = asyncio.create_task(batcher.submit(request("larger", 46)))
    assert await batcher.submit(request("half", 45)) == ["HALF"]
    assert not larger.done()
    engine.go_on.set()
    assert await larger == ["LARGER"]
    await task


async def test_what_one_run_ends_holds_up_nobody_for_long():
    """Requests that a run ends share the next one with others: two lanes would be slower."""
    engine = Engine()
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, request("long", 60))
    short = asyncio.create_task(batcher.submit(request("short", 4)))
    await asyncio.sleep(0.05)
    assert not short.done()
    engine.go_on.set()
    await asyncio.gather(task, short)
    assert engine.at_once == 1


async def test_two_long_requests_do_not_take_both_lanes_for_long():
    """A second long request may run beside the first, in small runs."""
    engine = Engine()
    batcher = Batcher(engine, max_jobs=8)
    first = await begun(engine, batcher, long("long"))
    second = asyncio.create_task(batcher.submit(request("second", *[4] * 30)))
    assert await second == ["SECOND"] * 30
    runs = [run for run in engine.runs if run[0] == "second"]
    assert max(map(len, runs)) * 4 <= engine.budget / 8
    engine.go_on.set()
    await asyncio.gather(*first)


async def test_a_long_requests_own_turn_does_not_come_later_for_short_ones():
    """The short ones that pass it are as much work as its own at most; then it is its turn."""
    line = Scheduler(packs=True)
    held = [Submission(long("long")), *(Submission(request(f"s{n}", 32)) for n in range(20))]
    tickets = [submission.make_tickets() for submission in held]
    line.add(tickets[0])
    line.take(64, 8)
    for one in tickets[1:]:
        line.add(one)
    passed = 0
    while batch := line.take(32, 8, longest=128):
        passed += sum(ticket.size for ticket in batch)
    assert passed == 20 * 32
    assert [ticket.item for ticket in line.take(64, 8)] == ["long", "long"]
    line.add(Submission(request("late", 4)).make_tickets())
    assert line.take(64, 8)[0].item == "long", "its turn has come"
    assert [ticket.item for ticket in line.take(64, 8, longest=128)] == ["late"]


@pytest.mark.parametrize("packs", [True, False])
async def test_no_part_of_a_long_request_joins_a_short_ones_run(packs):
    line = Scheduler(packs=packs)
    held = [Submission(request("long", *[4] * 99)), Submission(request("short", 4))]
    for submission in held:
        line.add(submission.make_tickets())
    assert [ticket.item for ticket in line.take(64, 8, longest=50)] == ["short"]
    assert line.take(64, 8, longest=50) == []
    assert {ticket.item for ticket in line.take(64, 8)} == {"long"}


async def test_a_short_one_that_fails_fails_alone():
    class OutOfMemoryError(RuntimeError):
        pass

    class Small(Engine):
        def act(self, batch: Sequence[Any]) -> list[Any]:
            if any(ticket.item == "bad" for ticket in batch):
                raise OutOfMemoryError
            return super().act(batch)

    engine = Small()
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, long())
    good, bad = request("good", 4), request("bad", 4)
    results = await asyncio.gather(
        batcher.submit(good), batcher.submit(bad), return_exceptions=True
    )
    assert results[0] == ["GOOD"]
    assert isinstance(results[1], OutOfMemory)
    engine.go_on.set()
    assert await task == ["LONG"] * 8


async def test_a_device_that_hangs_is_noticed_though_short_ones_go_on():
    class Hanging(Engine):
        def act(self, batch: Sequence[Any]) -> list[Any]:
            if batch[0].item == "long":
                self.go_on.wait(10)
            return [ticket.cancelled or ticket.item for ticket in batch]

    engine, lost = Hanging(), list[DeviceLost]()
    batcher = Batcher(engine, max_jobs=8, on_lost=lost.append, hung_after_s=0.3)
    hung = asyncio.create_task(batcher.submit(long(), Deadline(time.monotonic() + 0.2, 0.1)))
    await asyncio.sleep(0.05)
    try:
        async with asyncio.timeout(5):
            while not lost:
                try:
                    await batcher.submit(request("short", 4))
                except DeviceLost:
                    break
                await asyncio.sleep(0.01)
        with pytest.raises(DeviceLost):
            await hung
        assert len(lost) == 1
        assert len(engine.runs) > 3, "short ones went on beside it"
    finally:
        engine.go_on.set()


async def test_closing_waits_for_both_lanes():
    class Slow(Engine):
        def act(self, batch: Sequence[Any]) -> list[Any]:
            if batch[0].item == "short":
                time.sleep(0.2)
            return super().act(batch)

    engine = Slow()
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, request("long", 60, 60))
    short = asyncio.create_task(batcher.submit(request("short", 4)))
    while len(engine.runs) < 2:
        await asyncio.sleep(0.001)
    engine.go_on.set()
    await task
    await batcher.close()
    assert engine.closed
    assert engine._busy == 0
    assert await short == ["SHORT"]


async def test_slices_of_a_short_request_go_on_in_either_lane():
    class Slices(Engine):
        def __init__(self) -> None:
            super().__init__()
            self.left = {"long": 6, "short": 3}

        def act(self, batch: Sequence[Any]) -> list[Any]:
            [ticket] = batch
            time.sleep(0.03 if ticket.item == "long" else 0.001)
            self.left[ticket.item] -= 1
            return [Unfinished() if self.left[ticket.item] else ticket.item.upper()]

    engine = Slices()
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, Work(["long"], total=6, sliced=True, finish=list))
    assert await batcher.submit(Work(["short"], total=3, sliced=True, finish=list)) == ["SHORT"]
    assert not task.done()
    assert await task == ["LONG"]


async def test_a_short_one_that_nobody_waits_for_frees_its_lane():
    class Stoppable(Engine):
        def act(self, batch: Sequence[Any]) -> list[Any]:
            while batch[0].item == "short" and not batch[0].cancelled:
                time.sleep(0.001)
            return super().act(batch)

    engine = Stoppable()
    batcher = Batcher(engine, max_jobs=8)
    [task] = await begun(engine, batcher, long())
    short = asyncio.create_task(batcher.submit(request("short", 4)))
    while len(engine.runs) < 2:
        await asyncio.sleep(0.001)
    short.cancel()
    assert await asyncio.wait_for(batcher.submit(request("next", 4)), 5) == ["NEXT"]
    engine.go_on.set()
    await task

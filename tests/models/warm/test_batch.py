"""Gather, run, settle: every ticket, exactly once."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from models.engine import BatchEngine
from models.errors import DeviceLost, EngineFailed, OutOfMemory, RequestError
from models.warm.batch import Batcher
from models.warm.ticket import Deadline
from models.work import Unfinished, Work, only

pytestmark = pytest.mark.anyio


class Engine(BatchEngine):
    """Doubles numbers; does what it is told on the way."""

    def __init__(self, act: Callable[[Sequence[Any]], None] = lambda batch: None) -> None:
        self.act = act
        self.batches: list[list[Any]] = []
        self.threads: set[int] = set()
        self.closed = False

    @classmethod
    def load(cls, folder, row, device):
        return cls()

    def prepare(self, request: Work) -> Work:
        return request

    def run(self, batch: Sequence[Any]) -> list[Any]:
        self.threads.add(threading.get_ident())
        self.batches.append([ticket.item for ticket in batch])
        self.act(batch)
        return [ticket.item * 2 for ticket in batch]

    def close(self) -> None:
        self.closed = True


def work(*parts: Any, sizes: Sequence[int] = ()) -> Work:
    """Parts mix with those of their own type."""
    finish = list if len(parts) > 1 else only
    return Work(parts, sizes, kind=type(parts[0]), finish=finish)


async def submit(batcher: Batcher, *parts: Any, sizes: Sequence[int] = ()) -> Any:
    asked = work(*parts, sizes=sizes)
    return asked.finish(await batcher.submit(asked))


async def test_what_queues_while_a_batch_runs_goes_together():
    engine = Engine(lambda batch: time.sleep(0.02))
    batcher = Batcher(engine, max_jobs=8)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(20)))
    assert outputs == [n * 2 for n in range(20)]
    assert len(engine.batches) <= 4
    assert max(map(len, engine.batches)) <= 8
    assert len(engine.threads) == 1


async def test_an_idle_engine_never_waits():
    batcher = Batcher(Engine(), max_jobs=8)
    await submit(batcher, 1)
    start = time.perf_counter()
    for n in range(100):
        await submit(batcher, n)
    assert (time.perf_counter() - start) / 100 < 0.01


async def test_max_jobs_of_one_never_mixes():
    engine = Engine(lambda batch: time.sleep(0.001))
    batcher = Batcher(engine, max_jobs=1)
    await asyncio.gather(*(submit(batcher, n) for n in range(10)))
    assert all(len(batch) == 1 for batch in engine.batches)


async def test_items_that_do_not_mix_keep_their_order():
    engine = Engine(lambda batch: time.sleep(0.005))
    batcher = Batcher(engine, max_jobs=8)
    items = [1, 2, "a", 3, "b", 4]
    assert await asyncio.gather(*(submit(batcher, i) for i in items)) == [2, 4, "aa", 6, "bb", 8]
    for batch in engine.batches:
        assert len({type(item) for item in batch}) == 1
        assert batch == sorted(batch)


async def test_a_bad_item_fails_alone():
    def act(batch: Sequence[Any]) -> None:
        if any(ticket.item == 3 for ticket in batch):
            raise ValueError("bad item")

    engine = Engine(act)
    batcher = Batcher(engine, max_jobs=8)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(6)), return_exceptions=True)
    assert [o for n, o in enumerate(outputs) if n != 3] == [0, 2, 4, 8, 10]
    assert isinstance(outputs[3], EngineFailed)
    assert "bad item" not in str(outputs[3])


async def test_an_engine_that_returns_too_little_settles_all():
    class Short(Engine):
        def run(self, batch: Sequence[Any]) -> list[Any]:
            return super().run(batch)[1:]

    batcher = Batcher(Short(), max_jobs=8)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(3)), return_exceptions=True)
    assert all(isinstance(output, EngineFailed) for output in outputs)


class PanicException(BaseException):
    """As Rust libraries raise it."""


async def test_a_panic_settles_its_own_ticket_only():
    def act(batch: Sequence[Any]) -> None:
        if any(ticket.item == 1 for ticket in batch):
            raise PanicException

    batcher = Batcher(Engine(act), max_jobs=8)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(3)), return_exceptions=True)
    assert [outputs[0], outputs[2]] == [0, 4]
    assert isinstance(outputs[1], EngineFailed)


async def test_a_device_that_is_gone_leaves_nobody_waiting():
    batcher = Batcher(Engine(), max_jobs=1)
    await batcher.close()
    lost = asyncio.gather(*(submit(batcher, n) for n in range(3)), return_exceptions=True)
    for result in await asyncio.wait_for(lost, timeout=2):
        assert isinstance(result, EngineFailed)


async def test_a_stream_that_has_begun_is_not_run_again():
    def act(batch: Sequence[Any]) -> None:
        batch[0].emit("once")
        raise ValueError

    engine = Engine(act)
    batcher = Batcher(engine, max_jobs=8)

    async def listen(n: int) -> list[Any]:
        events = []
        with pytest.raises(EngineFailed):
            async for event in batcher.stream(work(n)):
                events.append(event)
        return events

    for events in await asyncio.gather(*(listen(n) for n in range(3))):
        assert events == ["once"]
    assert engine.batches == [[0, 1, 2], [1], [2]]


async def test_a_stream_that_is_out_of_memory_after_its_first_event_is_not_run_again():
    """Alone, too: whoever listens would hear the beginning twice."""

    def act(batch: Sequence[Any]) -> None:
        batch[0].emit("once")
        raise OutOfMemoryError

    engine = Engine(act)
    batcher = Batcher(engine, max_jobs=8)
    events = []
    with pytest.raises(OutOfMemory):
        async for event in batcher.stream(work(1)):
            events.append(event)
    assert events == ["once"]
    assert engine.batches == [[1]]


async def test_a_plain_job_that_is_out_of_memory_after_a_step_is_run_again():
    """Engines tell of their steps whether or not somebody listens."""
    failures = [OutOfMemoryError()]

    def act(batch: Sequence[Any]) -> None:
        batch[0].emit("a step")
        while failures:
            raise failures.pop()

    engine = Engine(act)
    assert await submit(Batcher(engine, max_jobs=8), 1) == 2
    assert engine.batches == [[1], [1]]


async def test_one_that_has_begun_to_stream_fails_without_those_it_ran_with():
    def act(batch: Sequence[Any]) -> None:
        if len(batch) > 1:
            batch[0].emit("once")
            raise ValueError

    engine = Engine(act)
    batcher = Batcher(engine, max_jobs=8)
    events = []

    async def listen() -> None:
        async for event in batcher.stream(work(0)):
            events.append(event)

    failed, *others = await asyncio.gather(
        listen(), submit(batcher, 1), submit(batcher, 2), return_exceptions=True
    )
    assert isinstance(failed, EngineFailed)
    assert others == [2, 4]
    assert events == ["once"]
    assert engine.batches == [[0, 1, 2], [1], [2]]


async def test_outputs_that_are_errors_settle_their_own_ticket():
    class Picky(Engine):
        def run(self, batch: Sequence[Any]) -> list[Any]:
            return [RequestError("no") if t.item == 1 else t.item for t in batch]

    batcher = Batcher(Picky(), max_jobs=8)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(3)), return_exceptions=True)
    assert outputs[0] == 0
    assert isinstance(outputs[1], RequestError)
    assert outputs[2] == 2


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def holding(parts: int, error: Exception) -> Callable[[Sequence[Any]], None]:
    """A device that runs so many parts at once, and fails with ``error`` on more."""

    def act(batch: Sequence[Any]) -> None:
        if len(batch) > parts:
            raise error

    return act


@pytest.mark.parametrize(
    "error", [OutOfMemoryError(), MemoryError(), RuntimeError("CUDA failed with out of memory")]
)
async def test_out_of_memory_poisons_nobody(error):
    def act(batch: Sequence[Any]) -> None:
        if len(batch) > 1 or batch[0].item == 2:
            raise error

    batcher = Batcher(Engine(act), max_jobs=8)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(4)), return_exceptions=True)
    assert [outputs[0], outputs[1], outputs[3]] == [0, 2, 6]
    assert isinstance(outputs[2], OutOfMemory)
    assert await submit(batcher, 5) == 10


async def test_a_cancelled_ticket_stops_the_engine_and_frees_the_device():
    seen = threading.Event()

    def act(batch: Sequence[Any]) -> None:
        if batch[0].item == 1:
            for _ in range(500):
                time.sleep(0.01)
                if batch[0].cancelled:
                    seen.set()
                    return

    batcher = Batcher(Engine(act), max_jobs=1)
    task = asyncio.create_task(submit(batcher, 1))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.wait_for(submit(batcher, 2), timeout=2) == 4
    assert seen.is_set()


async def test_a_ticket_cancelled_while_it_waits_never_runs():
    engine = Engine(lambda batch: time.sleep(0.05))
    batcher = Batcher(engine, max_jobs=1)
    first = asyncio.create_task(submit(batcher, 1))
    second = asyncio.create_task(submit(batcher, 2))
    await asyncio.sleep(0.01)
    second.cancel()
    assert await first == 2
    assert await submit(batcher, 3) == 6
    assert engine.batches == [[1], [3]]


async def test_events_come_in_order_before_the_output():
    def act(batch: Sequence[Any]) -> None:
        for n in range(100):
            batch[0].emit(n)

    batcher = Batcher(Engine(act), max_jobs=1)
    assert [event async for event in batcher.stream(work(7))] == [*range(100), 14]


async def test_an_error_ends_a_stream_after_its_events():
    def act(batch: Sequence[Any]) -> None:
        batch[0].emit("first")
        raise RequestError("then this")

    events = []
    with pytest.raises(RequestError, match="then this"):
        async for event in Batcher(Engine(act), max_jobs=1).stream(work(1)):
            events.append(event)
    assert events == ["first"]


async def test_a_thousand_jobs_with_bad_and_cancelled_ones_settle_once():
    def act(batch: Sequence[Any]) -> None:
        if any(ticket.item % 20 == 7 for ticket in batch):
            raise ValueError

    batcher = Batcher(Engine(act), max_jobs=16)
    tasks = [asyncio.create_task(submit(batcher, n)) for n in range(1000)]
    await asyncio.sleep(0)
    for task in tasks[::10]:
        task.cancel()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), timeout=60)
    for n, result in enumerate(results):
        if n % 10 == 0:
            assert isinstance(result, asyncio.CancelledError)
        elif n % 20 == 7:
            assert isinstance(result, EngineFailed)
        else:
            assert result == n * 2


async def test_close_waits_for_the_device():
    engine = Engine(lambda batch: time.sleep(0.05))
    batcher = Batcher(engine, max_jobs=1)
    task = asyncio.create_task(submit(batcher, 1))
    await asyncio.sleep(0.01)
    await batcher.close()
    assert engine.closed
    assert await task == 2


async def test_a_job_is_answered_when_its_own_parts_are_done():
    """A long job came first: the short one does not wait for all of it."""
    engine = Engine(lambda batch: time.sleep(0.01))
    engine.budget = 4
    batcher = Batcher(engine, max_jobs=8)
    done: list[str] = []

    async def ask(name: str, *parts: int) -> None:
        assert await submit(batcher, *parts) == (
            [n * 2 for n in parts] if len(parts) > 1 else parts[0] * 2
        )
        done.append(name)

    long = asyncio.create_task(ask("long", *range(40)))
    await asyncio.sleep(0)
    await asyncio.gather(ask("short", 7), long)
    assert done == ["short", "long"]
    assert all(len(batch) <= 4 for batch in engine.batches)


async def test_a_bad_part_fails_its_own_job_at_once_and_no_other():
    def act(batch: Sequence[Any]) -> None:
        if any(ticket.item == 13 for ticket in batch):
            raise ValueError

    engine = Engine(act)
    engine.budget = 8
    batcher = Batcher(engine, max_jobs=100)
    asked = [submit(batcher, *range(n, n + 5)) for n in range(0, 30, 5)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(results[2], EngineFailed)
    for n, result in zip(range(0, 30, 5), results, strict=True):
        if n != 10:
            assert result == [one * 2 for one in range(n, n + 5)]


async def test_out_of_memory_halves_the_budget_and_runs_everything_again():
    engine = Engine(holding(5, OutOfMemoryError()))
    engine.budget = 32
    batcher = Batcher(engine, max_jobs=100)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(64)))
    assert outputs == [n * 2 for n in range(64)]
    assert 4 <= batcher.budget < 6
    failed = sum(len(batch) > 5 for batch in engine.batches)
    assert failed <= 3  # 32, then 16 and 8 on the way down, and none of them again
    engine.act = lambda batch: time.sleep(0.0005)
    await asyncio.gather(*(submit(batcher, n) for n in range(6000)))
    assert batcher.budget == 32  # it was not the budget's fault for ever


async def test_a_part_that_is_out_of_memory_alone_is_tried_once_more_and_blames_nobody():
    tries: list[int] = []

    def act(batch: Sequence[Any]) -> None:
        if batch[0].item == 1:
            tries.append(1)
            raise OutOfMemoryError
        if batch[0].item == 2 and not tries.count(2):
            tries.append(2)
            raise OutOfMemoryError

    engine = Engine(act)
    engine.budget = 32
    batcher = Batcher(engine, max_jobs=1)
    with pytest.raises(OutOfMemory):
        await submit(batcher, 1)
    assert tries == [1, 1]
    assert await submit(batcher, 2) == 4
    assert batcher.budget == 32


async def test_a_part_that_hands_the_device_back_goes_on_in_its_turn():
    """A long one lets a shorter one by, but no more of them than it is long itself."""
    order: list[Any] = []
    left = {"long": 4}

    class Slices(Engine):
        def run(self, batch: Sequence[Any]) -> list[Any]:
            [ticket] = batch
            order.append(ticket.item)
            time.sleep(0.01)
            if ticket.item in left and left[ticket.item] > 1:
                left[ticket.item] -= 1
                return [Unfinished()]
            return [ticket.item.upper()]

    batcher = Batcher(Slices(), max_jobs=1)
    long = asyncio.create_task(batcher.submit(Work(["long"], total=4, sliced=True)))
    await asyncio.sleep(0.005)  # its first slice runs
    late = [asyncio.create_task(batcher.submit(Work([f"s{n}"], [2]))) for n in range(3)]
    assert await long == ["LONG"]
    assert await asyncio.gather(*late) == [["S0"], ["S1"], ["S2"]]
    # Its turn was at 4: those of 2 that came when 1 was done were due at 3.
    assert order == ["long", "s0", "s1", "s2", "long", "long", "long"]
    assert batcher.load.size == 4 + 3 * 2


async def test_what_comes_late_does_not_pass_a_part_that_is_under_way_for_ever():
    order: list[Any] = []

    class Slices(Engine):
        def run(self, batch: Sequence[Any]) -> list[Any]:
            [ticket] = batch
            order.append(ticket.item)
            time.sleep(0.005)
            done = order.count("long")
            return [Unfinished() if ticket.item == "long" and done < 10 else "done"]

    batcher = Batcher(Slices(), max_jobs=1)
    long = asyncio.create_task(batcher.submit(Work(["long"], total=10, sliced=True)))
    await asyncio.sleep(0)
    while not long.done():  # another as soon as one is answered
        await batcher.submit(Work(["short"], [1]))
    between = [len(one.split()) for one in " ".join(order).split("long")[1:-1]]
    assert len(between) == 9
    assert all(1 <= one <= 10 for one in between), between  # about four, or more as it came late


async def test_a_short_one_passes_long_ones_that_have_waited_for_each_other():
    order: list[Any] = []

    class Slices(Engine):
        def run(self, batch: Sequence[Any]) -> list[Any]:
            [ticket] = batch
            order.append(ticket.item)
            time.sleep(0.002)
            more = ticket.item != "short" and order.count(ticket.item) < 40
            return [Unfinished() if more else "done"]

    batcher = Batcher(Slices(), max_jobs=1)
    both = [
        asyncio.create_task(batcher.submit(Work([name], total=40, sliced=True)))
        for name in ("a", "b")
    ]
    while len(order) < 50:
        await asyncio.sleep(0.001)
    before = len(order)
    await batcher.submit(Work(["short"], [1]))
    assert order.index("short") - before <= 6
    await asyncio.gather(*both)
    assert order.count("a") == order.count("b") == 40


async def test_what_goes_on_keeps_its_place_among_its_like():
    """It is in the next run, though many wait that came later."""
    runs: list[list[Any]] = []

    class Twice(Engine):
        budget = 4

        def run(self, batch: Sequence[Any]) -> list[Any]:
            runs.append([ticket.item for ticket in batch])
            time.sleep(0.005)
            seen = [item for run in runs for item in run]
            return [
                Unfinished() if seen.count(ticket.item) < 2 else ticket.item for ticket in batch
            ]

    batcher = Batcher(Twice(), max_jobs=100)
    first = asyncio.create_task(batcher.submit(Work([f"a{n}" for n in range(4)], kind="text")))
    await asyncio.sleep(0)
    later = asyncio.create_task(batcher.submit(Work([f"b{n}" for n in range(40)], kind="text")))
    assert await first == [f"a{n}" for n in range(4)]
    assert [set(run) for run in runs[:2]] == [{"a0", "a1", "a2", "a3"}] * 2
    assert len(await later) == 40
    assert len(runs) == 22


async def test_a_part_that_goes_on_hears_of_a_lost_device():
    class Half(Engine):
        def run(self, batch: Sequence[Any]) -> list[Any]:
            if len(batch) > 1:
                raise RuntimeError("halve it")
            if batch[0].item == "lost":
                raise RuntimeError("CUDA failed with error an illegal memory access")
            return [Unfinished()]

    batcher = Batcher(Half(), max_jobs=8)
    asked = [batcher.submit(Work([item], kind="text")) for item in ("lost", "goes on")]
    ends = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 5)
    assert [type(one) for one in ends] == [DeviceLost, DeviceLost]


async def test_a_stream_is_begun_again_where_its_own_part_has_told_nothing():
    """A neighbour's bad part is not its end, though another part of it has been heard."""

    class Engine_(Engine):
        budget = 2

        def run(self, batch: Sequence[Any]) -> list[Any]:
            if any(ticket.item == "bad" for ticket in batch):
                raise RuntimeError("bad")
            for ticket in batch:
                ticket.emit(ticket.item)
            return [ticket.item for ticket in batch]

    batcher = Batcher(Engine_(), max_jobs=8)
    stream = batcher.stream(Work(["s0", "s1", "s2"], kind="text", finish=list))
    bad = asyncio.create_task(batcher.submit(Work(["bad"], kind="text")))
    heard = [event async for event in stream]
    assert sorted(heard[:-1]) == heard[-1] == ["s0", "s1", "s2"]
    with pytest.raises(EngineFailed):
        await bad


async def test_a_part_that_nobody_waits_for_is_not_run_again():
    engine = Engine(lambda batch: time.sleep(0.01))
    engine.run = lambda batch: [Unfinished()] * len(batch)  # type: ignore[method-assign]
    batcher = Batcher(engine, max_jobs=1)
    with pytest.raises(TimeoutError):
        await batcher.submit(Work(["endless"], [1]), Deadline(time.monotonic() + 0.05))
    runs = batcher.load.runs
    await asyncio.sleep(0.05)
    assert batcher.load.runs <= runs + 1


async def test_a_job_of_no_parts_is_done():
    assert await Batcher(Engine(), max_jobs=1).submit(Work((), finish=list)) == []


async def test_the_load_counts_what_ran_with_and_without_padding():
    batcher = Batcher(Engine(), max_jobs=8)
    await submit(batcher, 1, 2, sizes=(10, 30))
    assert (batcher.load.runs, batcher.load.size, batcher.load.padded_size) == (1, 40, 60)
    assert batcher.waiting == 0


async def test_packed_parts_are_as_large_as_they_are_together():
    engine = Engine()
    engine.packs = engine.rounds = True
    engine.budget = 100
    batcher = Batcher(engine, max_jobs=8)
    await submit(batcher, 1, 2, 3, sizes=(10, 80, 8))  # padded, two of them would be too much
    assert engine.batches == [[3, 1, 2]]
    assert (batcher.load.size, batcher.load.padded_size) == (98, 104)  # 98 is not round


async def test_packed_parts_that_are_out_of_memory_are_halved():
    engine = Engine(holding(5, OutOfMemoryError()))
    engine.packs, engine.budget = True, 32
    batcher = Batcher(engine, max_jobs=100)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(64)))
    assert outputs == [n * 2 for n in range(64)]
    assert 4 <= batcher.budget < 6


@pytest.mark.parametrize(
    "words",
    [
        "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: 32 TB.",
        "[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 5",
        "CUDA error: out of memory",
    ],
)
async def test_every_librarys_words_for_out_of_memory(words):
    class Fail(Exception):
        """As onnxruntime's: no RuntimeError."""

    engine = Engine(holding(2, Fail(words)))
    engine.budget = 8
    batcher = Batcher(engine, max_jobs=100)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(8)))
    assert outputs == [n * 2 for n in range(8)]
    assert batcher.budget < 3


async def test_a_lost_gpu_is_asked_once():
    def act(batch: Sequence[Any]) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    engine = Engine(act)
    batcher = Batcher(engine, max_jobs=100)
    outputs = await asyncio.gather(*(submit(batcher, n) for n in range(8)), return_exceptions=True)
    assert all(isinstance(one, DeviceLost) for one in outputs)
    assert len(engine.batches) == 1


async def test_small_runs_do_not_prove_that_large_ones_fit():
    engine = Engine(holding(4, OutOfMemoryError()))
    engine.budget = 64
    batcher = Batcher(engine, max_jobs=100)
    await asyncio.gather(*(submit(batcher, n) for n in range(64)))
    lowered = batcher.budget
    for n in range(300):
        await submit(batcher, n)
    assert batcher.budget == lowered


# A device that is hung ---------------------------------------------------------------------------


def due(seconds: float, grace_s: float = 0.2) -> Deadline:
    return Deadline(time.monotonic() + seconds, grace_s)


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    """Engines that wait for it hang until the test is over."""
    event = threading.Event()
    yield event
    event.set()


async def test_a_slow_request_is_stopped_at_its_deadline_and_the_device_goes_on():
    def act(batch: Sequence[Any]) -> None:
        while not all(ticket.cancelled for ticket in batch) and batch[0].item == 1:
            time.sleep(0.01)

    batcher = Batcher(Engine(act), max_jobs=8)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await batcher.submit(work(1), due(0.2, grace_s=5))
    assert time.monotonic() - start < 1, "an engine that lets go is not waited for"
    assert await submit(batcher, 2) == 4


async def test_a_device_that_does_not_come_back_is_lost_to_all_who_wait(hang):
    told: list[DeviceLost] = []
    engine = Engine(lambda batch: hang.wait())
    batcher = Batcher(engine, max_jobs=1, on_lost=told.append, hung_after_s=0.1)
    start = time.monotonic()
    running = asyncio.create_task(batcher.submit(work(1), due(0.2)))
    waiting = asyncio.create_task(batcher.submit(work(2), due(60)))
    without = asyncio.create_task(batcher.submit(work(3)))
    for task in (running, waiting, without):
        with pytest.raises(DeviceLost, match="hung"):
            await task
    assert 0.4 <= time.monotonic() - start < 1
    assert len(told) == 1
    start = time.monotonic()
    with pytest.raises(DeviceLost):
        await batcher.submit(work(4), due(60))
    assert time.monotonic() - start < 0.1, "nobody is let in any more"
    await batcher.close()  # and it does not wait for the device


async def test_a_stream_hears_of_a_hung_device_too(hang):
    def act(batch: Sequence[Any]) -> None:
        batch[0].emit("once")
        hang.wait()

    batcher = Batcher(Engine(act), max_jobs=1, hung_after_s=0.1)
    events = []
    with pytest.raises(DeviceLost):
        async for event in batcher.stream(work(1), due(0.2)):
            events.append(event)
    assert events == ["once"]


async def test_a_hung_device_is_noticed_though_nobody_waits(hang):
    """Whoever asked has gone; the next one is not held up until its own deadline."""
    batcher = Batcher(Engine(lambda batch: hang.wait()), max_jobs=1, hung_after_s=0.1)
    task = asyncio.create_task(batcher.submit(work(1), due(0.2)))
    await asyncio.sleep(0.05)
    task.cancel()
    start = time.monotonic()
    with pytest.raises(DeviceLost):
        await batcher.submit(work(2), due(60))
    assert time.monotonic() - start < 1


async def test_a_run_is_watched_for_its_last_deadline():
    """One request is late, another of the same run has time."""
    release = threading.Event()

    def act(batch: Sequence[Any]) -> None:
        if len(batch) > 1:
            release.wait()

    batcher = Batcher(Engine(act), max_jobs=8, hung_after_s=0.1)
    first = asyncio.create_task(batcher.submit(work(0)))
    await asyncio.sleep(0)
    late = asyncio.create_task(batcher.submit(work(1), due(0.2)))
    early = asyncio.create_task(batcher.submit(work(2), due(60)))
    assert await first == [0]
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await late
    assert time.monotonic() - start < 0.4, "the run goes on for another: nothing to wait for"
    await asyncio.sleep(0.5)
    release.set()
    assert await early == [4]


async def test_an_engine_of_long_steps_is_given_the_time_of_them():
    """What takes half a second a step does not let go within a fifth of one; it is not hung."""

    def act(batch: Sequence[Any]) -> None:
        for _ in range(10 if batch[0].item == 1 else 0):
            time.sleep(0.5)
            if batch[0].cancelled:
                return

    batcher = Batcher(Engine(act), max_jobs=1, hung_after_s=0.1)
    with pytest.raises(TimeoutError):
        await batcher.submit(work(1), due(0.7))
    assert await batcher.submit(work(2)) == [4]


async def test_a_client_in_a_hurry_cannot_have_a_healthy_device_given_up():
    """Its deadline and its grace are its own; what the engine is given is the operator's."""
    batcher = Batcher(Engine(lambda batch: time.sleep(0.6)), max_jobs=1, hung_after_s=1)
    hasty = asyncio.create_task(batcher.submit(work(1), due(0.1, grace_s=0.05)))
    other = asyncio.create_task(batcher.submit(work(2)))
    with pytest.raises(TimeoutError):
        await hasty
    assert await other == [4]


async def test_an_engine_that_gives_no_signs_is_given_the_time_of_its_runs():
    batcher = Batcher(Engine(lambda batch: time.sleep(0.5)), max_jobs=1, hung_after_s=0.1)
    await batcher.submit(work(1))
    with pytest.raises(TimeoutError):
        await batcher.submit(work(2), due(0.1, grace_s=0.05))
    assert await batcher.submit(work(3)) == [6]


async def test_a_run_that_is_over_is_not_watched_any_more():
    lost: list[DeviceLost] = []
    batcher = Batcher(Engine(), max_jobs=1, on_lost=lost.append, hung_after_s=0.1)
    assert await batcher.submit(work(1), due(0.1)) == [2]
    await asyncio.sleep(0.6)
    assert lost == []
    assert await batcher.submit(work(1), due(1)) == [2]


async def test_a_run_that_is_over_keeps_nothing_until_its_deadline():
    class Answer:
        """What a client asked for."""

        def __mul__(self, factor: int) -> int:
            return factor

    asked = Answer()
    gone = weakref.ref(asked)
    batcher = Batcher(engine := Engine(), max_jobs=1)
    assert await batcher.submit(Work((asked,)), due(600)) == [2]
    engine.batches.clear()
    del asked
    await asyncio.sleep(0.05)
    gc.collect()
    assert gone() is None


async def test_a_loop_that_stood_still_takes_no_device_for_lost():
    """The run was over long before anybody could look."""
    batcher = Batcher(Engine(lambda batch: time.sleep(0.3)), max_jobs=1, hung_after_s=0.1)
    task = asyncio.create_task(batcher.submit(work(1), due(0.5)))
    await asyncio.sleep(0.1)
    time.sleep(1.0)
    with pytest.raises(TimeoutError):
        await task
    assert await batcher.submit(work(2), due(60)) == [4]


async def test_a_process_that_stood_still_gives_its_device_a_while():
    """As after a pause of the whole machine: the device's thread stood still, too."""
    batcher = Batcher(Engine(lambda batch: time.sleep(2.0)), max_jobs=1, hung_after_s=0.5)
    task = asyncio.create_task(batcher.submit(work(1), due(0.1, grace_s=0.1)))
    await asyncio.sleep(0.05)
    time.sleep(1.75)
    with pytest.raises(TimeoutError):
        await task
    assert await batcher.submit(work(2), due(60)) == [4]


async def test_who_waits_in_line_until_its_deadline_is_late_and_blames_nobody():
    batcher = Batcher(Engine(lambda batch: time.sleep(0.5)), max_jobs=1)
    first = asyncio.create_task(batcher.submit(work(1)))
    await asyncio.sleep(0)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await batcher.submit(work(2), due(0.1))
    assert time.monotonic() - start < 0.3
    assert await first == [2]


class Sound:
    """A part that holds something dear, as an open file."""


class Listener(Engine):
    """Keeps nothing of what it hears."""

    def run(self, batch: Sequence[Any]) -> list[Any]:
        return [2] * len(batch)


@pytest.mark.parametrize("streams", [False, True])
async def test_a_part_is_let_go_with_its_answer_and_not_at_a_full_garbage_collection(streams):
    batcher = Batcher(Listener(), max_jobs=4)
    part = Sound()
    gone = weakref.ref(part)
    asked = Work((part,), kind=Sound, finish=only)
    gc.collect()
    gc.disable()
    try:
        if streams:
            assert [event async for event in batcher.stream(asked)][-1] == 2
        else:
            assert await batcher.submit(asked) == [2]
        del part, asked
        await asyncio.sleep(0.1)
        assert gone() is None
    finally:
        gc.enable()

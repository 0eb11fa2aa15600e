"""Warm models: loaded once, lent, evicted by budget."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from models import fake
from models.embeddings.request import EmbedRequest
from models.errors import (
    DeviceLost,
    ModelDoesNotFit,
    ModelLoadFailed,
    OutOfMemory,
    WeightsUnavailable,
)
from models.row import Row
from models.warm.pool import Pool
from models.warm.ticket import Deadline

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def no_collection(monkeypatch) -> None:
    """Garbage of the whole session takes seconds to look for, and these models leave none."""
    monkeypatch.setattr("models.warm.feeder.free_memory", lambda: None)


ROW = next(row for row in fake.rows() if row.surface == "embeddings")


def model(name: str, size: int = 10) -> Row:
    return replace(ROW, slug=name, memory_bytes=size)


class Loads:
    """Counts loads and closes; fails when told to."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        self.loaded: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.fail: list[Exception] = []
        self.lock = threading.Lock()

    def __call__(self, row: Row) -> Any:
        time.sleep(self.seconds)
        with self.lock:
            self.loaded[row.slug] += 1
            if self.fail:
                raise self.fail.pop()
        engine = fake.FakeEmbeddings(row)
        engine.close = lambda: self.closed.update([row.slug])  # type: ignore[method-assign]
        return engine


async def use(pool: Pool, row: Row, seconds: float = 0.0) -> str:
    async with pool.lease(row) as warm:
        await asyncio.sleep(seconds)
        return warm.warm.row.slug


async def test_concurrent_first_requests_load_once():
    loads = Loads()
    pool = Pool(loads, 100, 8)
    results = await asyncio.gather(*(use(pool, model("a")) for _ in range(50)))
    assert results == ["a"] * 50
    assert loads.loaded == {"a": 1}


async def test_an_engine_lives_on_one_thread():
    """Loaded, run and closed there; and the thread ends with it."""
    threads = []

    def load(row: Row) -> Any:
        engine = fake.FakeEmbeddings(row)
        run = engine.run

        def noted(batch: Any) -> Any:
            threads.append(threading.current_thread())
            return run(batch)

        engine.run = noted  # type: ignore[method-assign]
        engine.close = lambda: threads.append(threading.current_thread())  # type: ignore[method-assign]
        threads.append(threading.current_thread())
        return engine

    pool = Pool(load, 10, 8)
    async with pool.lease(model("a")) as warm:
        await warm.run(EmbedRequest(("x",)))
    await use(pool, model("b"))  # there is room for one
    assert len(threads[:3]) == 3
    assert set(threads[:3]) == {threads[0]} != {threading.current_thread()}
    threads[0].join(5)
    assert not threads[0].is_alive()


async def test_a_load_that_fails_leaves_no_thread():
    threads = []

    def load(row: Row) -> Any:
        threads.append(threading.current_thread())
        raise OSError("disk")

    pool = Pool(load, 10, 8)
    with pytest.raises(ModelLoadFailed):
        await use(pool, model("failing"))
    [thread] = threads
    assert thread.name.startswith("device-failing")
    thread.join(5)
    assert not thread.is_alive()


async def test_the_least_recently_used_idle_model_goes():
    loads = Loads()
    pool = Pool(loads, 30, 8)
    for name in "abc":
        await use(pool, model(name))
    await use(pool, model("a"))
    await use(pool, model("d"))
    assert sorted(pool.warm) == ["a", "c", "d"]
    assert loads.closed == {"b": 1}


async def test_a_model_in_use_is_never_evicted():
    loads = Loads()
    pool = Pool(loads, 20, 8)
    async with pool.lease(model("a")):
        await use(pool, model("b"))
        await use(pool, model("c"))
        assert "a" in pool.warm
    assert loads.closed == {"b": 1}


@pytest.mark.slow
async def test_a_budget_of_one_model_makes_two_take_turns():
    loads = Loads(0.001)
    pool = Pool(loads, 10, 8)
    jobs = [use(pool, model(name), 0.002) for _ in range(10) for name in "ab"]
    results = await asyncio.wait_for(asyncio.gather(*jobs), timeout=120)
    assert Counter(results) == {"a": 10, "b": 10}


async def test_a_busy_model_cannot_starve_another():
    pool = Pool(Loads(0.001), 10, 8)
    stop = asyncio.Event()

    async def busy() -> None:
        while not stop.is_set():
            await use(pool, model("a"), 0.005)

    crowd = [asyncio.create_task(busy()) for _ in range(5)]
    await asyncio.sleep(0.02)
    await asyncio.wait_for(use(pool, model("b")), timeout=5)
    stop.set()
    await asyncio.gather(*crowd)


async def test_a_model_larger_than_the_budget_says_so():
    pool = Pool(Loads(), 10, 8)
    with pytest.raises(ModelDoesNotFit, match="MEMORY_BUDGET_GB"):
        await use(pool, model("big", 11))
    assert await use(pool, model("a")) == "a"


@pytest.mark.parametrize("error", [WeightsUnavailable("gone"), ValueError("secret path")])
async def test_a_failed_load_fails_those_who_wait_and_the_next_tries_afresh(error):
    loads = Loads()
    loads.fail = [error]
    pool = Pool(loads, 10, 8)
    expected = type(error) if isinstance(error, WeightsUnavailable) else ModelLoadFailed
    results = await asyncio.gather(
        *(use(pool, model("a")) for _ in range(5)), return_exceptions=True
    )
    assert [type(result) for result in results] == [expected] * 5
    assert "secret" not in str(results)
    assert await use(pool, model("a")) == "a"
    assert loads.loaded == {"a": 2}


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: an illegal memory access was encountered",
        "No CUDA GPUs are available",
        "CUDA driver error: unknown error",
    ],
)
async def test_a_device_that_fails_at_a_load_is_lost_to_every_model(words):
    """It would fail the next load, too: the worker is to end, and no job to wait for it."""
    loads = Loads(0.05)
    loads.fail = [RuntimeError(words)]
    pool = Pool(loads, 20, 8)
    asked = [use(pool, model("a")) for _ in range(3)]
    results = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in results] == [DeviceLost] * 3
    assert pool.lost.is_set()
    with pytest.raises(DeviceLost):
        await use(pool, model("b"))
    assert loads.loaded == {"a": 1}


async def test_an_engine_that_names_its_device_lost_at_a_load_is_believed():
    loads = Loads()
    loads.fail = [DeviceLost("The model's process did not start: the GPU does not answer.")]
    pool = Pool(loads, 20, 8)
    with pytest.raises(DeviceLost, match="does not answer"):
        await use(pool, model("a"))
    assert pool.lost.is_set()


async def test_a_load_that_is_out_of_memory_leaves_the_device():
    loads = Loads()
    loads.fail = [
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`")
    ]
    pool = Pool(loads, 20, 8)
    with pytest.raises(OutOfMemory):
        await use(pool, model("a"))
    assert not pool.lost.is_set()
    assert await use(pool, model("a")) == "a"


async def test_a_failed_load_gives_its_memory_back():
    loads = Loads()
    loads.fail = [WeightsUnavailable("gone")]
    pool = Pool(loads, 10, 8)
    with pytest.raises(WeightsUnavailable):
        await use(pool, model("a"))
    assert await asyncio.wait_for(use(pool, model("b")), timeout=2) == "b"


async def test_a_cancelled_waiter_leaves_the_load_to_the_others():
    loads = Loads(0.1)
    pool = Pool(loads, 10, 8)
    first = asyncio.create_task(use(pool, model("a")))
    await asyncio.sleep(0.02)
    second = asyncio.create_task(use(pool, model("a")))
    first.cancel()
    assert await second == "a"
    assert loads.loaded == {"a": 1}
    assert await asyncio.wait_for(use(pool, model("b")), timeout=2) == "b"


async def test_an_evictor_that_is_cancelled_leaks_nothing():
    """A model's memory counts until it is closed, whoever still waits for that."""
    loads = Loads(0.0)
    pool = Pool(loads, 10, 8)
    slow = threading.Event()

    async def occupy() -> None:
        async with pool.lease(model("a")) as warm:
            warm.engine.run = lambda batch: [slow.wait(2) for _ in batch]
            await warm.run(EmbedRequest(("x",)))

    busy = asyncio.create_task(occupy())
    await asyncio.sleep(0.05)
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)
    evictor = asyncio.create_task(use(pool, model("b")))
    await asyncio.sleep(0.05)
    evictor.cancel()
    await asyncio.gather(evictor, return_exceptions=True)
    following = asyncio.create_task(use(pool, model("c")))
    await asyncio.sleep(0.05)
    assert not following.done(), "a is still on the device"
    slow.set()
    assert await asyncio.wait_for(following, timeout=2) == "c"
    assert loads.closed["a"] == 1
    assert await use(pool, model("a")) == "a"


async def test_a_close_that_fails_harms_nobody():
    loads = Loads(0.0)
    pool = Pool(loads, 10, 8)

    def fail() -> None:
        raise RuntimeError("driver")

    async with pool.lease(model("a")) as warm:
        warm.engine.close = fail
    assert await use(pool, model("b")) == "b"


async def test_a_load_that_nobody_waits_for_any_more_frees_its_place():
    pool = Pool(Loads(0.05), 10, 8)
    task = asyncio.create_task(use(pool, model("a")))
    await asyncio.sleep(0.01)
    task.cancel()
    assert await asyncio.wait_for(use(pool, model("b")), timeout=2) == "b"


def test_a_pool_serves_one_loop_after_another():
    """Preloading runs in a loop of its own, before the SDK starts its loop."""
    loads = Loads()
    pool = Pool(loads, 20, 8)
    assert asyncio.run(use(pool, model("a"))) == "a"

    async def both() -> list[str]:
        return await asyncio.gather(*(use(pool, model(name)) for name in "aabb"))

    assert asyncio.run(both()) == list("aabb")
    assert loads.loaded == {"a": 1, "b": 1}


@pytest.mark.parametrize("budget", [10, 100], ids=["in line", "for a load, and in another model"])
async def test_a_lost_device_is_told_to_all_whatever_they_wait_for(budget):
    hang = threading.Event()

    class Hung(fake.FakeEmbeddings):
        def run(self, batch: Any) -> Any:
            hang.wait()
            return super().run(batch)

    def load(row: Row) -> Any:
        if row.slug == "loading":
            hang.wait()
        return Hung(row)

    async def embed(name: str, deadline: Deadline) -> Any:
        async with pool.lease(model(name), deadline) as warm:
            return await warm.run(EmbedRequest(inputs=("x",)))

    pool = Pool(load, budget, 8, hung_after_s=0.1)
    now = time.monotonic()
    asked = [embed("hung", Deadline(now + 0.3, 0.1))]
    asked += [embed(name, Deadline(now + 60, 3)) for name in ("other", "loading")]
    try:
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(one) for one in answers] == [DeviceLost] * 3
        assert time.monotonic() - now < 2
        assert pool.lost.is_set()
        with pytest.raises(DeviceLost):
            await use(pool, model("other"))
    finally:
        hang.set()

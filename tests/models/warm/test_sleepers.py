"""Models that sleep instead of being unloaded: when, for how long, and what becomes of failures."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from models import fake
from models.errors import DeviceLost, ModelLoadFailed, OutOfMemory, WeightsUnavailable
from models.row import Row
from models.warm.model import Warm
from models.warm.pool import Pool
from models.warm.sleepers import Sleepers

pytestmark = pytest.mark.anyio
ROW = next(row for row in fake.rows() if row.surface == "embeddings")


class Engines:
    """Makes engines that sleep; ``said`` has all that is asked of them, with their thread."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.threads: dict[str, set[str]] = {}
        self.sleeps: Callable[[], bool] = lambda: True
        self.wakes: Callable[[], None] = lambda: None
        self.fail: dict[str, list[Exception]] = {}

    def __call__(self, row: Row) -> Any:
        self.note("load", row.slug)
        if self.fail.get(row.slug):
            raise self.fail[row.slug].pop()
        engine = fake.FakeEmbeddings(row)
        engine.sleep = lambda: self.note("sleep", row.slug) or self.sleeps()
        engine.wake = lambda: self.note("wake", row.slug) or self.wakes()
        engine.close = lambda: self.note("close", row.slug)
        return engine

    def note(self, what: str, slug: str) -> None:
        self.said.append(f"{what} {slug}")
        self.threads.setdefault(slug, set()).add(threading.current_thread().name)


@pytest.fixture
def engines() -> Engines:
    return Engines()


@pytest.fixture
def pool(engines: Engines) -> Pool:
    return Pool(engines, 10, 8)


async def use(pool: Pool, *slugs: str) -> list[Any]:
    found = []
    for slug in slugs:
        async with pool.lease(replace(ROW, slug=slug, memory_bytes=10)) as model:
            found.append(model.engine)
    return found


async def test_a_model_that_makes_room_sleeps_and_comes_back(pool, engines):
    first, _, again, _ = await use(pool, "a", "b", "a", "b")
    assert again is first
    assert engines.said == [
        "load a", "sleep a", "load b", "sleep b", "wake a", "sleep a", "wake b",
    ]  # fmt: skip
    assert pool.warm == ["b"]
    assert all(len(threads) == 1 for threads in engines.threads.values())  # each on its own


async def test_one_that_cannot_sleep_is_unloaded(pool, engines):
    engines.sleeps = lambda: False
    await use(pool, "a", "b", "a")
    assert engines.said == [
        "load a", "sleep a", "close a", "load b", "sleep b", "close b", "load a",
    ]  # fmt: skip


def failing(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


async def test_one_that_fails_to_sleep_or_to_wake_is_unloaded(pool, engines):
    engines.sleeps = failing(RuntimeError("no"))
    await use(pool, "a", "b")
    assert engines.said == ["load a", "sleep a", "close a", "load b"]
    engines.sleeps, engines.wakes = lambda: True, failing(RuntimeError("CUDA out of memory"))
    await use(pool, "a", "b")
    assert engines.said[4:] == ["sleep b", "load a", "sleep a", "wake b", "close b", "load b"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("Free memory on device cuda:0 is less than desired GPU memory utilization"),
        OutOfMemory("no room"),
    ],
)
async def test_a_load_without_memory_is_tried_again_without_the_sleeping(pool, engines, error):
    await use(pool, "a")
    engines.fail["b"] = [error]
    await use(pool, "b", "a")
    assert engines.said == [
        "load a", "sleep a", "load b", "close a", "load b", "sleep b", "load a",
    ]  # fmt: skip


async def test_other_failures_of_a_load_wake_nobody(pool, engines):
    await use(pool, "a")
    engines.fail["b"] = [WeightsUnavailable("nowhere")]
    with pytest.raises(WeightsUnavailable):
        await use(pool, "b")
    await use(pool, "a")
    assert engines.said == ["load a", "sleep a", "load b", "wake a"]
    engines.fail["b"] = [ValueError("x"), ValueError("y")]
    with pytest.raises(ModelLoadFailed):
        await use(pool, "b")
    assert engines.said[4:] == ["sleep a", "load b", "close a", "load b"]


async def test_a_device_that_is_lost_is_lost_to_those_who_sleep(pool, engines):
    await use(pool, "a")
    engines.fail["b"] = [DeviceLost("the GPU fell off")]
    for slug in ("b", "a"):
        with pytest.raises(DeviceLost):
            await use(pool, slug)
    assert engines.said == ["load a", "sleep a", "load b"]


async def test_one_that_does_not_answer_is_a_lost_device(engines):
    """Its thread waits for ever; so would the job that wants its memory."""
    held = threading.Event()
    engines.sleeps = lambda: held.wait(5)
    row = replace(ROW, slug="a")
    warm = Warm(row, engines(row), 8, None, lambda _: None, 1.0)
    start = time.monotonic()
    with pytest.raises(DeviceLost, match="a's process does not answer"):
        await Sleepers(most_s=0.1).put(warm)
    assert time.monotonic() - start < 4
    held.set()
    await asyncio.wait_for(warm.close(), 5)

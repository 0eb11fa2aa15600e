"""Requests that come and go at every step: each ends once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from typing import Any

import pytest

from models.engine import StepEngine
from models.errors import DeviceLost, EngineFailed, OutOfMemory, RequestError
from models.warm.steps import Steps
from models.warm.ticket import Deadline
from models.work import Done

pytestmark = pytest.mark.anyio


class Engine(StepEngine):
    """Counts each request's number down, one a step; does what it is told on the way."""

    capacity = 8

    def __init__(self, act: Callable[[dict[int, int]], None] = lambda left: None) -> None:
        self.act = act
        self.left: dict[int, int] = {}
        self.steps: list[list[int]] = []
        self.dropped: list[int] = []
        self.threads: set[int] = set()
        self.closed = False

    @classmethod
    def load(cls, folder, row, device):
        return cls()

    def prepare(self, request: Any) -> Any:
        return request

    def admit(self, key: int, item: Any) -> None:
        self.threads.add(threading.get_ident())
        if item == "no":
            raise RequestError("not this one")
        self.left[key] = item

    def drop(self, key: int) -> None:
        self.threads.add(threading.get_ident())
        self.dropped.append(key)
        self.left.pop(key, None)

    def step(self) -> list[tuple[int, Any]]:
        self.threads.add(threading.get_ident())
        self.steps.append(sorted(self.left))
        self.act(self.left)
        events: list[tuple[int, Any]] = []
        for key in list(self.left):
            self.left[key] -= 1
            events.append((key, self.left[key]))
            if not self.left[key]:
                del self.left[key]
                events.append((key, Done("down")))
        return events

    def close(self) -> None:
        self.closed = True


async def read(steps: Steps, item: Any, deadline: Deadline | None = None) -> list[Any]:
    return [event async for event in steps.stream(item, deadline or Deadline())]


def due(seconds: float, grace_s: float = 0.2) -> Deadline:
    return Deadline(time.monotonic() + seconds, grace_s)


async def test_events_come_in_order_and_the_output_last():
    assert await read(Steps(Engine()), 3) == [2, 1, 0, "down"]


async def test_requests_come_and_go_at_every_step():
    engine = Engine(lambda left: time.sleep(0.005))
    steps = Steps(engine)

    async def later(n: int) -> list[Any]:
        await asyncio.sleep(0.012 * n)
        return await read(steps, 5 + n)

    answers = await asyncio.gather(*(later(n) for n in range(8)))
    assert [len(one) for one in answers] == [6 + n for n in range(8)]
    together = max(map(len, engine.steps))
    assert together > 1
    assert len(engine.steps) < sum(5 + n for n in range(8))
    assert len(engine.threads) == 1
    assert engine.left == {}
    assert steps.waiting == 0


async def test_one_that_is_refused_harms_nobody():
    steps = Steps(Engine(lambda left: time.sleep(0.002)))
    good = asyncio.create_task(read(steps, 20))
    with pytest.raises(RequestError, match="not this one"):
        await read(steps, "no")
    assert len(await good) == 21


async def test_who_stops_reading_is_let_go_before_the_next_step():
    engine = Engine(lambda left: time.sleep(0.005))
    steps = Steps(engine)
    other = asyncio.create_task(read(steps, 60))
    async with aclosing(steps.stream(10_000)) as events:
        async for event in events:
            if event < 9_990:
                break
    at = len(engine.steps)
    await other
    assert len(engine.dropped) == 1
    [key] = engine.dropped
    after = [keys for keys in engine.steps[at + 2 :] if key in keys]
    assert not after, "it was still served two steps later"
    assert steps.waiting == 0


async def test_cancelled_before_it_is_let_in():
    engine = Engine()
    steps = Steps(engine)
    task = asyncio.create_task(read(steps, 5))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await read(steps, 2) == [1, 0, "down"]
    assert engine.left == {}


async def test_an_error_of_one_is_its_own():
    class Picky(Engine):
        def step(self) -> list[tuple[int, Any]]:
            events = super().step()
            bad = [key for key, left in self.left.items() if left == 13]
            for key in bad:
                del self.left[key]
            return events + [(key, EngineFailed("unlucky")) for key in bad]

    steps = Steps(Picky())
    answers = await asyncio.gather(read(steps, 20), read(steps, 10), return_exceptions=True)
    assert isinstance(answers[0], EngineFailed)
    assert len(answers[1]) == 11


@pytest.mark.parametrize(
    ("error", "told"),
    [(ValueError("a secret"), EngineFailed), (MemoryError(), OutOfMemory)],
)
async def test_a_step_that_fails_fails_who_is_in_and_nobody_after(error, told):
    failing = [True]

    def act(left: dict[int, int]) -> None:
        if failing and len(left) == 2:
            failing.clear()
            raise error

    engine = Engine(act)
    steps = Steps(engine)
    answers = await asyncio.gather(read(steps, 5), read(steps, 5), return_exceptions=True)
    assert [type(one) for one in answers] == [told, told]
    assert "secret" not in str(answers)
    assert sorted(engine.dropped) == [0, 1]
    assert await read(steps, 2) == [1, 0, "down"]


async def test_a_lost_device_is_told_to_all_and_lets_nobody_in():
    lost: list[DeviceLost] = []

    def act(left: dict[int, int]) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    steps = Steps(Engine(act), on_lost=lost.append)
    answers = await asyncio.gather(read(steps, 5), read(steps, 5), return_exceptions=True)
    assert all(isinstance(one, DeviceLost) for one in answers)
    assert len(lost) == 1
    with pytest.raises(DeviceLost):
        await read(steps, 1)
    await steps.close()


class Stuck(Engine):
    """Cannot let go of anybody."""

    def drop(self, key: int) -> None:
        super().drop(key)
        raise ValueError("a secret")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("fails", [True, False])
async def test_an_engine_that_cannot_let_go_is_lost_and_nobody_hangs(fails):
    """Whether for one who has gone, or after a step that failed."""
    lost: list[DeviceLost] = []

    def act(left: dict[int, int]) -> None:
        time.sleep(0.002)
        if fails and len(left) == 2 and min(left.values()) < 90:
            raise ValueError("the step")

    steps = Steps(Stuck(act), on_lost=lost.append)
    waits = [asyncio.create_task(read(steps, 1000)) for _ in range(2)]
    if not fails:
        async with aclosing(steps.stream(1000)) as events:
            await anext(events)
    answers = await asyncio.gather(*waits, return_exceptions=True)
    assert [type(one) for one in answers] == [DeviceLost, DeviceLost]
    assert "secret" not in str(answers)
    assert len(lost) == 1


async def test_what_was_half_let_in_is_let_go():
    class Half(Engine):
        def admit(self, key: int, item: Any) -> None:
            self.left[key] = 5
            if item == "half":
                raise ValueError("the second choice")

    engine = Half()
    steps = Steps(engine)
    with pytest.raises(EngineFailed):
        await read(steps, "half")
    assert engine.left == {}
    assert engine.dropped == [0]
    assert len(await read(steps, 5)) == 6


@pytest.mark.timeout(20)
async def test_an_engine_that_makes_no_sense_is_lost_and_nobody_hangs():
    class Odd(Engine):
        def step(self) -> Any:
            return [None]

    lost: list[DeviceLost] = []
    steps = Steps(Odd(), on_lost=lost.append)
    answers = await asyncio.gather(read(steps, 5), read(steps, 5), return_exceptions=True)
    assert [type(one) for one in answers] == [DeviceLost, DeviceLost]
    assert len(lost) == 1


@pytest.fixture
def hang() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


async def test_a_device_that_does_not_come_back_is_lost_to_all(hang):
    lost: list[DeviceLost] = []
    steps = Steps(Engine(lambda left: hang.wait()), on_lost=lost.append, hung_after_s=0.1)
    start = time.monotonic()
    answers = await asyncio.gather(
        read(steps, 5, due(0.2)), read(steps, 5, due(60)), read(steps, 5), return_exceptions=True
    )
    assert all(isinstance(one, DeviceLost) for one in answers)
    assert 0.4 <= time.monotonic() - start < 1
    assert len(lost) == 1


async def test_a_slow_request_is_late_and_the_others_go_on():
    steps = Steps(Engine(lambda left: time.sleep(0.01)))
    other = asyncio.create_task(read(steps, 60))
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        await read(steps, 10_000, due(0.2, grace_s=5))
    assert time.monotonic() - start < 0.5
    assert len(await other) == 61


async def test_an_engine_of_long_steps_is_given_the_time_of_them():
    steps = Steps(Engine(lambda left: time.sleep(0.4)), hung_after_s=0.1)
    with pytest.raises(TimeoutError):
        await read(steps, 100, due(0.6))
    assert await read(steps, 1) == [0, "down"]


async def test_a_client_in_a_hurry_cannot_have_a_healthy_device_given_up():
    steps = Steps(Engine(lambda left: time.sleep(0.5)), hung_after_s=1)
    with pytest.raises(TimeoutError):
        await read(steps, 100, due(0.1, grace_s=0.05))
    assert await read(steps, 1) == [0, "down"]


async def test_many_requests_that_come_are_left_and_end_leave_nothing():
    engine = Engine(lambda left: time.sleep(0.0005))
    steps = Steps(engine)
    chance = random.Random(5)

    async def one() -> str:
        await asyncio.sleep(chance.random() * 0.2)
        wanted = chance.randint(1, 30)
        if chance.random() < 0.3:
            async with aclosing(steps.stream(wanted)) as events:
                async for _ in events:
                    if chance.random() < 0.2:
                        break
            return "left"
        assert len(await read(steps, wanted)) == wanted + 1
        return "read"

    ends = await asyncio.gather(*(one() for _ in range(500)))
    assert {"left", "read"} == set(ends)
    await asyncio.sleep(0.1)
    assert engine.left == {}
    assert steps.waiting == 0


async def test_close_closes_the_engine():
    engine = Engine()
    steps = Steps(engine)
    await read(steps, 1)
    await steps.close()
    assert engine.closed

"""Who goes next: whose turn it is, with those nearest to it in size, within the budget."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest

from models.warm.scheduler import Scheduler
from models.warm.ticket import Submission
from models.work import Work

pytestmark = pytest.mark.anyio


class Held(Submission):
    """A job that holds its tickets, which one of the batcher's does not."""

    def __init__(self, work: Work) -> None:
        super().__init__(work)
        self.tickets = self.make_tickets()


def job(*sizes: int, kind: Any = "text") -> Held:
    return Held(Work([f"part of {size}" for size in sizes], sizes, kind))


def sizes(batch: list[Any]) -> list[int]:
    return [ticket.size for ticket in batch]


def waiting(*jobs: Held, packs: bool = False) -> Scheduler:
    line = Scheduler(packs)
    for one in jobs:
        line.add(one.tickets)
    return line


def packed(*jobs: Held) -> Scheduler:
    return waiting(*jobs, packs=True)


def drain(line: Scheduler, budget: float = math.inf, max_jobs: int = 1000) -> list[list[Any]]:
    batches = []
    while batch := line.take(budget, max_jobs):
        batches.append(batch)
    return batches


async def test_who_goes_goes_with_its_nearest_in_size():
    line = waiting(job(10), job(100), job(11), job(90), job(9))
    assert sorted(sizes(line.take(33, 100))) == [9, 10, 11]
    assert sorted(sizes(line.take(200, 100))) == [90, 100]
    assert line.take(200, 100) == []


async def test_what_is_larger_than_the_budget_goes_alone():
    assert [sizes(batch) for batch in drain(waiting(job(50, 500, 50)), budget=100)] == [
        [50, 50],
        [500],
    ]


async def test_no_run_is_over_the_budget_and_everyone_goes_once():
    chance = random.Random(1)
    jobs = [
        job(*(chance.randint(1, 400) for _ in range(chance.randint(1, 20)))) for _ in range(100)
    ]
    batches = drain(waiting(*jobs), budget=1024)
    for batch in batches:
        assert len(batch) * max(sizes(batch)) <= 1024
    gone = [ticket for batch in batches for ticket in batch]
    assert len(set(map(id, gone))) == len(gone) == sum(len(one.tickets) for one in jobs)


@pytest.mark.parametrize("budget", [1024, 2048, 8192])
async def test_little_is_padded(budget):
    chance = random.Random(2)
    lengths = [chance.randint(5, 40) if chance.random() < 0.7 else chance.randint(170, 400)
               for _ in range(512)]  # fmt: skip
    batches = drain(waiting(*(job(*lengths[at : at + 8]) for at in range(0, 512, 8))), budget)
    padded = sum(len(batch) * max(sizes(batch)) for batch in batches)
    assert padded / sum(lengths) < 1.15


async def test_a_small_job_passes_a_large_one():
    large, small = job(*[100] * 50), job(10)
    batches = drain(waiting(large, small), budget=100)
    assert batches[0][0].submission is small


async def test_no_job_is_passed_by_more_work_than_its_own():
    """Small jobs keep coming: a large one waits for 50 of 10 at most before each of them waits."""
    line, large = Scheduler(), job(500)
    line.add(large.tickets)
    passed = 0
    while True:
        passed += 1
        line.add(job(10).tickets)
        if large.tickets[0] in line.take(10, 1):
            break
    assert 45 <= passed <= 50


async def test_jobs_of_one_size_go_in_their_order():
    jobs = [job(7, 7) for _ in range(20)]
    order = [batch[0].submission for batch in drain(waiting(*jobs), max_jobs=1)]
    assert order == jobs


async def test_a_run_mixes_no_more_jobs_than_allowed():
    jobs = [job(10, 10, 10) for _ in range(6)]
    for batch in drain(waiting(*jobs), max_jobs=2):
        assert len({id(ticket.submission) for ticket in batch}) == 2
    for batch in drain(waiting(*(job(10, 10) for _ in range(3))), max_jobs=1):
        assert len(batch) == 2


async def test_kinds_do_not_mix_and_none_goes_alone():
    line = waiting(job(1, kind="a"), job(1, kind="b"), job(1, 1, kind=None), job(1, kind="a"))
    kinds = [[ticket.kind for ticket in batch] for batch in drain(line)]
    assert kinds == [["a", "a"], ["b"], [None], [None]]


async def test_the_cancelled_do_not_go():
    jobs = [job(10, 20) for _ in range(10)]
    line = waiting(*jobs)
    for one in jobs[::2]:
        one.cancel()
    gone = [ticket for batch in drain(line, budget=60) for ticket in batch]
    assert {id(ticket.submission) for ticket in gone} == {id(one) for one in jobs[1::2]}
    assert len(gone) == 10
    assert not line._lines


async def test_the_cancelled_count_as_no_work():
    line, gone = Scheduler(), job(*[100] * 59)
    line.add(gone.tickets)
    large = job(*[100] * 60)
    line.add(large.tickets)
    gone.cancel()
    line.take(100, 1)
    small = job(10)
    line.add(small.tickets)
    assert line.take(100, 1)[0].submission is small


async def test_packed_a_run_is_filled_by_turns_and_comes_by_size():
    jobs = [job(50, 400), job(30, 30), job(500), job(60)]
    line = packed(*jobs)
    assert sizes(line.take(200, 100)) == [30, 30, 50, 60]  # and what it can of the next request
    assert sizes(line.take(200, 100)) == [400]
    assert sizes(line.take(200, 100)) == [500]  # larger than the budget, and alone
    assert line.take(200, 100) == []


@pytest.mark.parametrize(("misfits", "expected"), [(7, [20, 180]), (8, [180])])
async def test_packed_what_is_left_of_a_run_goes_to_the_next_that_fits(misfits, expected):
    line = packed(job(180), *(job(190) for _ in range(misfits)), job(20, 200))
    assert sizes(line.take(200, 100)) == expected  # only so many are asked
    assert sizes(line.take(200, 100)) == [190]  # and whoever did not fit is next


async def test_packed_a_run_that_is_far_from_full_passes_nobody():
    line = packed(job(100), job(150), job(20, 200))
    assert sizes(line.take(200, 100)) == [100]


async def test_packed_no_run_is_over_the_budget_and_everyone_goes_once():
    chance = random.Random(1)
    jobs = [
        job(*(chance.randint(1, 400) for _ in range(chance.randint(1, 20))), kind=chance.choice("ab"))
        for _ in range(100)
    ]  # fmt: skip
    batches = drain(packed(*jobs), budget=1024, max_jobs=5)
    for batch in batches:
        assert sum(sizes(batch)) <= 1024
        assert len({id(ticket.submission) for ticket in batch}) <= 5
        assert len({ticket.kind for ticket in batch}) == 1
    gone = [ticket for batch in batches for ticket in batch]
    assert len(set(map(id, gone))) == len(gone) == sum(len(one.tickets) for one in jobs)


async def test_packed_a_request_is_done_before_the_next_begins():
    jobs = [job(*[10] * 5) for _ in range(6)]
    batches = drain(packed(*jobs), budget=100)
    assert [{jobs.index(ticket.submission) for ticket in batch} for batch in batches] == [
        {0, 1},
        {2, 3},
        {4, 5},
    ]


async def test_packed_the_cancelled_do_not_go():
    jobs = [job(10, 20) for _ in range(10)]
    line = packed(*jobs)
    for one in jobs[::2]:
        one.cancel()
    gone = [ticket for batch in drain(line, budget=60) for ticket in batch]
    assert {id(ticket.submission) for ticket in gone} == {id(one) for one in jobs[1::2]}
    assert len(gone) == 10


@pytest.mark.parametrize("packs", [False, True])
async def test_choosing_is_quick_whatever_waits(packs):
    line = waiting(*(job(*[20] * 2048) for _ in range(40)), packs=packs)
    start = time.monotonic()
    for _ in range(20):
        line.take(1024, max_jobs=1)
    assert (time.monotonic() - start) / 20 < 0.02

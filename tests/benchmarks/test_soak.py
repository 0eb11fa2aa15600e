"""A worker stays as it is over very many jobs."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import psutil
import pytest

from benchmarks.small_jobs import small_jobs, varied
from benchmarks.soak import Sample, growth, sample, soak


def samples(memory: list[float], files: list[int] | None = None) -> list[Sample]:
    files = files or [10] * len(memory)
    return [
        Sample(n, rss, count, 5) for n, (rss, count) in enumerate(zip(memory, files, strict=True))
    ]


def test_what_grows_is_caught():
    assert growth(samples([50, *[100.0] * 39])).flat, "the start does not count"
    assert not growth(samples([100.0 + n for n in range(40)])).flat
    assert not growth(samples([100.0] * 40, [10 + n // 10 for n in range(40)])).flat


def test_what_a_worker_says_of_itself_is_sampled():
    """Of this process, and of the metrics of a worker with two models."""
    metrics = (
        "# TYPE quartet_tasks gauge\nquartet_tasks 7.0\n"
        "# TYPE quartet_model_memory_bytes gauge\n"
        'quartet_model_memory_bytes{model="a"} 2e+06\nquartet_model_memory_bytes{model="b"} 1e+06\n'
        "# TYPE quartet_requests_in_flight gauge\n"
        'quartet_requests_in_flight{route="/v1/embeddings"} 1.0\n'
    )
    taken = sample(psutil.Process(), 40, metrics)
    assert (taken.jobs, taken.tasks, taken.pool_mb, taken.in_flight) == (40, 7, 3.0, 1)
    assert taken.rss_mb > 10
    assert taken.files > 2


def test_more_tasks_are_caught():
    flat = samples([100.0] * 40)
    more = [replace(each, tasks=each.jobs // 10) for each in flat]
    assert growth(flat).flat
    assert not growth(more).flat
    assert not growth([replace(each, pool_mb=each.jobs) for each in flat]).flat


def test_a_worker_is_sampled_after_each_part():
    """With nothing in flight, and the same number of tasks each time."""
    taken, per_s = asyncio.run(soak("embeddings", 200, fake=True))
    assert [each.jobs for each in taken] == list(range(2, 202, 2))
    assert {each.in_flight for each in taken} == {0}
    assert len({each.tasks for each in taken[10:]}) == 1
    assert per_s > 1


@pytest.mark.parametrize("name", sorted(small_jobs()))
def test_no_job_is_the_last_one_again(name):
    _, _, body = small_jobs()[name]
    same = varied(body, 1) == varied(body, 2)
    assert same == (name in {"transcribe", "ocr"}), "answers to sound and pictures are not kept"


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("fake", [True, False], ids=["fake", "small"])
@pytest.mark.parametrize("name", sorted(small_jobs()))
def test_ten_thousand_jobs_leave_nothing(name, fake):
    if fake and name == "ocr":
        pytest.skip("no engine without weights reads pictures")
    # Reading takes most of a second, and pictures' cache of prompts is full after 3,700 jobs.
    taken, _ = asyncio.run(
        soak(name, {"ocr": 2_000, "images": 20_000}.get(name, 10_000), fake=fake)
    )
    grown = growth(taken)
    assert grown.flat, (grown, taken[:: len(taken) // 10])

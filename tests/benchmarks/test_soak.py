"""A worker stays as it is over very many jobs."""

from __future__ import annotations

import asyncio

import pytest

from benchmarks.soak import Sample, growth, soak


def samples(memory: list[float], files: list[int] | None = None) -> list[Sample]:
    files = files or [10] * len(memory)
    return [
        Sample(n, rss, count, 5) for n, (rss, count) in enumerate(zip(memory, files, strict=True))
    ]


def test_what_grows_is_caught():
    assert growth(samples([50, *[100.0] * 39])).flat, "the start does not count"
    assert not growth(samples([100.0 + n for n in range(40)])).flat
    assert not growth(samples([100.0] * 40, [10 + n // 10 for n in range(40)])).flat


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("fake", [True, False], ids=["fake", "small"])
@pytest.mark.parametrize("surface", ["chat", "images", "transcribe", "speech", "embeddings"])
def test_ten_thousand_jobs_leave_nothing(surface, fake):
    taken, _ = asyncio.run(soak(surface, 10_000, fake=fake))
    grown = growth(taken)
    assert grown.flat, (grown, taken[:: len(taken) // 10])

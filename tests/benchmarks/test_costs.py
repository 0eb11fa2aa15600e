"""What requests cost: the arithmetic, and a run against a worker."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from benchmarks.costs import AN_HOUR, BUSY, Terms
from tests.conftest import ROOT
from tests.support.running import serve_worker

TERMS = Terms(price=0.001, cold_s=20, idle_s=5)


def test_rare_requests_pay_for_a_start_and_an_idle_end_each():
    assert TERMS.paid_s(1, 0.001) == pytest.approx(1 + 20 + 5, rel=1e-3)


def test_many_requests_pay_for_what_they_take():
    assert TERMS.paid_s(1, 10**6) == 1 / BUSY
    assert TERMS.thousand(1, 10**6) == pytest.approx(1000 * 0.001 / BUSY)


def test_between_them_nothing_jumps():
    edge = 3600 * BUSY
    assert TERMS.paid_s(1, edge * 0.999) == pytest.approx(TERMS.paid_s(1, edge * 1.001), rel=0.05)


@pytest.mark.parametrize("an_hour", [30, 300, 900])
def test_it_is_what_a_played_day_costs(an_hour):
    """A worker that starts, waits and stops, second by second, with pauses drawn at random."""
    source, each_s = random.Random(7), 2.0
    pause_s, paid, count = 3600 / an_hour - each_s, 0.0, 200_000
    for _ in range(count):
        pause = source.expovariate(1 / pause_s)
        paid += each_s + (pause if pause <= TERMS.idle_s else TERMS.idle_s + TERMS.cold_s)
    assert TERMS.paid_s(each_s, an_hour) == pytest.approx(paid / count, rel=0.02)


def run(*arguments: str) -> tuple[str, dict]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.costs", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout, json.loads(done.stdout.splitlines()[-1])


def test_a_worker_is_asked_for_its_own_examples():
    with serve_worker(FAKE_DELAY_S="0.01", SURFACE="embeddings") as url:
        text, found = run("--url", url, "--price", "0.00031", "--seconds", "1")
    assert {"seconds /v1/embeddings", "seconds /v1/rerank"} <= found.keys()
    assert "at $0.00031 a second, 20 s to start, 5 s idle" in text


def test_seconds_may_be_given():
    text, found = run("--each-s", "0.5", "--price", "0.001")
    assert found["seconds given"] == 0.5
    assert "0.7500" in text  # 1,000 requests of half a second, at two thirds


PAGE = (ROOT / "docs" / "costs.md").read_text()


def test_the_table_of_prices_is_what_its_first_column_comes_to():
    rows = [
        [float(one) for one in cells[3:8]]
        for line in PAGE.splitlines()
        if len(cells := line.split("|")) == 9 and "GB" in cells[2]
    ]
    assert len(rows) >= 8
    for price, an_hour, *thousands in rows:
        assert an_hour == pytest.approx(price * 3600, abs=0.006)
        for seconds, told in zip((0.1, 1, 10), thousands, strict=True):
            busy = Terms(price, 0, 0).thousand(seconds, 10**9)
            assert told == pytest.approx(busy, rel=0.02)


def test_the_run_that_is_shown_is_the_arithmetic():
    terms = Terms(price=0.00016, cold_s=20, idle_s=5)
    lines = [line.split() for line in PAGE.splitlines() if line.startswith("/v1/")]
    assert len(lines) >= 8
    for _, a_second, seconds, busy, *told in lines:
        each_s = float(seconds)
        assert 1 / each_s == pytest.approx(float(a_second), rel=0.05)
        assert float(busy) == pytest.approx(1000 * 0.00016 * each_s / BUSY, rel=0.05)
        for rate, cost in zip(AN_HOUR, told, strict=True):
            assert float(cost) == pytest.approx(terms.thousand(each_s, rate), rel=0.05)

"""The jobs of a platform in a file: a platform that is lost comes back with them."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from local.app import Options, build
from local.queue.endpoints import EVERYTHING, Endpoints
from local.queue.jobs import Hook, Job, Order, Status
from local.queue.limits import Limits
from local.queue.platform import Platform
from local.queue.state import State, StateUnusable
from local.queue.workers import Report
from local.webhooks import Webhooks

ENDPOINTS = Endpoints(("chat", "embeddings"))
ORDER = Order({"messages": "ä\ud800"}, 600, 3600, envelope={"policy": {"ttl": 10000}})
LIMITS = Limits(poll_s=0.05, letting_go_s=0.01, webhook_pause_s=0.05)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "jobs.sqlite"


@asynccontextmanager
async def platform_of(path: Path, limits: Limits = LIMITS) -> AsyncIterator[Platform]:
    """A platform with the jobs of a file; it ends without a word, as at SIGKILL."""
    state = State(path)
    platform = Platform(ENDPOINTS, limits, state)
    platform.restore()
    try:
        yield platform
    finally:
        state.close()


async def taken(platform: Platform, worker_id: str = "w1", count: int = 8) -> list[Job]:
    worker = platform.worker(EVERYTHING, worker_id, joins=True)
    return await platform.take(worker, count)


def found(platform: Platform, job: Job) -> Job:
    there = platform.queues.find(job.endpoint, job.id)
    assert there is not None
    return there


def run(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(work())


def test_a_job_that_waits_is_there_again_in_its_turn(path):
    async def work() -> None:
        async with platform_of(path) as first:
            jobs = [first.queues.submit("chat", ORDER) for _ in range(3)]
        async with platform_of(path) as second:
            again = await taken(second)
        assert [job.id for job in again] == [job.id for job in jobs]
        assert again[0].order == ORDER
        assert again[0].tries == 1

    run(work)


def test_a_job_that_ran_runs_again_and_its_first_worker_is_to_stop_it(path):
    async def work() -> None:
        async with platform_of(path) as first:
            first.queues.submit("chat", ORDER)
            [job] = await taken(first)
            first.answers.stream(first.workers["w1"], job.id, {"choices": []}, 10, sequence=0)
            first.answers.stream(first.workers["w1"], job.id, {"choices": []}, 10, sequence=1)
        async with platform_of(path) as second:
            assert found(second, job).status is Status.IN_QUEUE
            worker = second.worker(EVERYTHING, "w1", joins=True)
            second.report(worker, Report(poll=1, runs=frozenset({job.run})))
            assert await second.take(worker, 1) == [], "it has not let go yet"
            assert await second.stops(worker, seen=0) == [job.id]
            second.answers.finish(worker, job.id, {"output": "late"}, 10, run=job.run)
            assert found(second, job).status is Status.IN_QUEUE, "the result of a run that is over"
            [again] = await taken(second, "w2")
            assert again.id == job.id
            assert again.run > job.run
            assert [chunk["type"] for chunk in again.chunks] == ["stream.restarted"]
            assert again.tries == 1, "the worker was not lost"

    run(work)


def test_a_result_that_was_taken_is_kept_and_comes_once(path):
    async def work() -> None:
        async with platform_of(path) as first:
            first.queues.submit("chat", ORDER)
            [job] = await taken(first)
            worker = first.workers["w1"]
            for number in range(3):
                chunk = {"choices": [], "n": number}
                first.answers.stream(worker, job.id, chunk, 10, sequence=number)
            first.answers.finish(worker, job.id, {"output": {"text": "x\u2028"}}, 10, events=3)
        async with platform_of(path) as second:
            again = found(second, job)
            assert again.view()["output"] == {"text": "x\u2028"}
            assert again.view()["status"] == "COMPLETED"
            assert [chunk.get("n") for chunk in again.chunks] == [None, 0, 1, 2]
            assert again.chunks[0]["type"] == "stream.restarted"
            assert again.chunks[0]["attempt"] == 1
            assert await taken(second) == []

    run(work)


def test_a_cancelled_job_stays_cancelled_and_may_be_retried(path):
    async def work() -> None:
        async with platform_of(path) as first:
            job = first.queues.submit("chat", ORDER)
            first.queues.cancel(job)
        async with platform_of(path) as second:
            assert found(second, job).status is Status.CANCELLED
            assert second.queues.retry(found(second, job))
        async with platform_of(path) as third:
            assert [again.id for again in await taken(third)] == [job.id]

    run(work)


def test_a_platform_that_stops_cancels_no_job_that_is_in_its_file(path):
    async def work() -> None:
        async with platform_of(path) as first:
            job = first.queues.submit("chat", ORDER)
            assert first.drain() == 0
            assert job.status is Status.IN_QUEUE
        async with platform_of(path) as second:
            assert [again.id for again in await taken(second)] == [job.id]
        without = Platform(ENDPOINTS, LIMITS)
        without.queues.submit("chat", ORDER)
        assert without.drain() == 1

    run(work)


def test_three_workers_may_be_lost_on_a_job_however_often_the_platform_is(path):
    async def work() -> None:
        async with platform_of(path) as first:
            job = first.queues.submit("chat", ORDER)
        for restart in range(5):
            async with platform_of(path) as platform:
                assert len(await taken(platform, f"w{restart}")) == 1
        async with platform_of(path) as platform:
            for worker in ("a", "b", "c"):
                assert len(await taken(platform, worker)) == 1
                platform.gone(platform.workers[worker], "is lost")
            assert found(platform, job).status is Status.FAILED

    run(work)


def test_the_time_without_a_platform_does_not_count(path):
    """Nor do the times of another boot of the machine, whose monotonic clock is another."""

    async def work() -> None:
        order = replace(ORDER, ttl_s=5)
        async with platform_of(path) as first:
            waiting = first.queues.submit("chat", order)
            ended = first.queues.submit("embeddings", order)
            first.queues.cancel(ended)
        with sqlite3.connect(path) as file:
            for job_id, progress in file.execute("SELECT id, progress FROM jobs").fetchall():
                known = json.loads(progress)
                times = {k: known[k] - 9e6 for k in ("submitted", "finished") if known[k]}
                file.execute(
                    "UPDATE jobs SET progress=?, saved=saved-9e6 WHERE id=?",
                    (json.dumps({**known, **times}), job_id),
                )
        file.close()
        limits = replace(LIMITS, run_retention_s=0.3)
        async with platform_of(path, limits) as second:
            assert found(second, waiting).status is Status.IN_QUEUE
            assert found(second, ended).status is Status.CANCELLED
            await asyncio.sleep(0.5)
            assert second.queues.find("embeddings", ended.id) is None
        async with platform_of(path) as third:
            assert third.queues.find("embeddings", ended.id) is None, "it left the file too"

    run(work)


def test_a_webhook_that_was_not_delivered_is_delivered_later_with_the_same_id(path):
    async def work() -> None:
        seen: list[dict[str, Any]] = []
        answers = iter([503, 503])

        async def take(request: web.Request) -> web.Response:
            seen.append(await request.json())
            return web.Response(status=next(answers, 200))

        application = web.Application()
        application.router.add_post("/hook", take)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
        for restart in range(3):
            async with platform_of(path) as platform:
                webhooks = Webhooks(replace(LIMITS, webhook_pause_s=60), "s", platform.queues.keep)
                if not restart:
                    job = platform.queues.submit("chat", ORDER)
                    platform.queues.cancel(job)
                    webhooks.follow(job, Hook(url, "chat"))
                else:
                    webhooks.resume(found(platform, job))
                await asyncio.sleep(0.2)
                await webhooks.close(0)
        async with platform_of(path) as platform:
            assert not any(hook.pending for hook in found(platform, job).hooks)
        await runner.cleanup()
        assert len(seen) == 3
        assert len({event["delivery_id"] for event in seen}) == 1
        assert {event["event"] for event in seen} == {"job.failed"}

    run(work)


def test_a_file_serves_one_platform(path, tmp_path):
    state = State(path)
    try:
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}
        with pytest.raises(StateUnusable, match="in use"):
            State(path)
    finally:
        state.close()
    other = tmp_path / "other"
    other.write_text("no database, but long enough to be read as the head of one" * 40)
    with pytest.raises(StateUnusable, match="not a file of this program"):
        build(Options(state=other))
    with pytest.raises(StateUnusable, match="cannot be written"):
        State(tmp_path / "missing" / "jobs")
    with sqlite3.connect(path) as file:
        file.execute("PRAGMA user_version=99")
    file.close()
    with pytest.raises(StateUnusable, match="another version"):
        State(path)


def test_a_job_that_cannot_be_written_goes_on(path, caplog):
    async def work() -> None:
        state = State(path)
        platform = Platform(ENDPOINTS, LIMITS, state)
        state.close()
        platform.queues.submit("chat", ORDER)
        assert len(await taken(platform)) == 1
        assert "is not kept in the state file" in caplog.text

    run(work)


def test_jobs_of_an_endpoint_that_is_no_more_are_left_in_the_file(path):
    async def work() -> None:
        async with platform_of(path) as first:
            job = first.queues.submit("chat", ORDER)
        state = State(path)
        fewer = Platform(Endpoints(("embeddings",)), LIMITS, state)
        assert fewer.restore() == []
        state.close()
        async with platform_of(path) as again:
            assert found(again, job).status is Status.IN_QUEUE

    run(work)

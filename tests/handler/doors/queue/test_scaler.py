"""The SDK's loop in this process: what is asked for, when, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
import time
from itertools import pairwise
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientResponseError, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from handler.doors.queue.delivery import Patience
from handler.doors.queue.masks import masked
from handler.doors.queue.polls import Absence
from handler.doors.queue.start import import_runpod
from models.errors import DeviceLost
from tests.support.sdk_platform import Platform, running, until, worker

pytestmark = pytest.mark.anyio

STREAM = {"messages": [{"role": "user", "content": "hello"}], "stream": True}


def refusal(status: int) -> ClientResponseError:
    """What a request ends with that is answered so."""
    url = URL("http://127.0.0.1/job-stop/worker?token=secret")
    headers: CIMultiDictProxy[str] = CIMultiDictProxy(CIMultiDict())
    return ClientResponseError(RequestInfo(url, "GET", headers, url), (), status=status)


async def test_no_job_is_taken_while_too_much_waits_to_be_delivered():
    platform = Platform()
    platform.status = lambda kind: 503
    async with running(platform, worker(), patience=Patience(waiting_bytes=1)):
        platform.put("one")
        await until(lambda: platform.tried)
        polls = len(platform.polls)
        platform.put("two")
        await asyncio.sleep(0.3)
        assert platform.jobs.qsize() == 0, "the poll that was open takes what comes"
        platform.put("three")
        await asyncio.sleep(0.3)
        assert platform.jobs.qsize() == 1
        assert len(platform.polls) == polls
        platform.status = lambda kind: 200
        await until(lambda: len(platform.results()) == 3)
    assert sorted(platform.results()) == ["one", "three", "two"]


@pytest.mark.parametrize("wait_s", [None, 0.0])
async def test_a_platform_that_is_busy_is_not_asked_without_a_pause(wait_s):
    from runpod.http_client import TooManyRequests

    platform = Platform()
    platform.refuse, platform.wait_s = TooManyRequests(None, ()), wait_s
    async with running(platform, worker()):
        await asyncio.sleep(1.5)
        assert 2 <= len(platform.polls) <= 5


async def test_after_polls_that_bring_nothing_at_once_a_job_does_not_wait_for_long():
    """As a worker that is resumed: the first polls are refused with 400, which is nothing."""
    platform = Platform()
    for _ in range(6):
        platform.jobs.put_nowait(None)
    async with running(platform, worker()):
        await until(lambda: len(platform.polls) == 7, 15)
        platform.put("job")
        await until(platform.results)
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(platform.polls[:7])]
    assert 0.1 < pauses[0] < 0.4
    assert 0.7 < pauses[-1] < 1.5


async def test_a_worker_whose_device_is_lost_takes_nothing_any_more():
    platform, one = Platform(), worker()
    async with running(platform, one) as (_, run):
        one.dispatcher.pool._lose(DeviceLost("gone"))
        await asyncio.sleep(0.1)
        platform.put("for another worker")
        await asyncio.wait_for(run, 2)
        assert platform.jobs.qsize() == 1


async def test_a_stream_whose_chunks_cannot_be_had_ends_early_and_its_result_is_whole():
    platform = Platform()
    platform.status = lambda kind: 500 if kind == "chunk" and len(platform.tried) > 2 else 200
    async with running(platform, worker(FAKE_DELAY_S="0.02"), patience=Patience(chunk_s=0.3)):
        start = time.monotonic()
        platform.put("job", STREAM)
        await until(platform.results)
        assert time.monotonic() - start < 6  # the lost chunk and the event that says so are tried
    chunks = [content["output"] for kind, _, content in platform.posts if kind == "chunk"]
    [result] = [content["output"] for kind, _, content in platform.posts if kind == "done"]
    assert len(chunks) == 2
    assert result["object"] == "chat.completion"
    assert result["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize("route", [None, "/v1/chat/completions"])
async def test_events_are_numbered_and_the_last_says_that_some_are_lost(caplog, route):
    platform = Platform()
    away: list[bool] = []
    platform.status = lambda kind: 500 if kind == "chunk" and away else 200
    body = STREAM if route is None else {"openai_route": route, "openai_input": STREAM}
    body = json.loads(json.dumps(body).replace("hello", "hello " * 10))
    async with running(platform, worker(FAKE_DELAY_S="0.02"), patience=Patience(chunk_s=0.3)) as _:
        platform.put("job", body, runId=7)
        await until(lambda: len(platform.posts) > 1)
        away.append(True)
        await until(lambda: "is lost" in caplog.text)
        away.clear()
        await until(platform.results)
    events = [content["output"] for kind, _, content in platform.posts if kind == "chunk"]
    if route is None:
        numbers = [event["sequence"] for event in events]
        assert events[-1]["type"] == "stream.incomplete"
        assert events[-1]["choices"] == []
    else:
        numbers = [int(event.split("\n")[0].removeprefix("id: ")) for event in events]
        assert '"code": "stream_incomplete"' in events[-1]
    assert numbers[:-1] == list(range(len(numbers) - 1))
    assert numbers[-1] > len(numbers) - 1, "the gap shows what is lost"


async def test_a_poll_names_the_runs_in_hand_where_the_platform_numbers_them():
    platform = Platform()
    async with running(platform, worker(FAKE_DELAY_S="0.5")) as _:
        platform.put("of RunPod")
        await until(lambda: len(platform.polls) > 1)
        assert "X-Runs" not in platform.headers
        platform.put("first", runId=3)
        platform.put("second", runId=5)
        await until(lambda: len(platform.polls) > 2)
        await until(lambda: platform.headers.get("X-Runs") == "3,5")
        await until(lambda: len(platform.results()) == 3)
        platform.jobs.put_nowait(None)
        await until(lambda: platform.headers["X-Runs"] == "")


@pytest.mark.parametrize(
    ("error", "limits", "ends"),
    [
        (refusal(401), {"refused_s": 0.5}, True),
        (refusal(404), {"refused_s": 0.5}, True),
        (refusal(503), {"refused_s": 0.5}, False),
        (ClientConnectionError(), {"refused_s": 0.5}, False),
        (ClientConnectionError(), {"unreached_s": 0.5}, True),
    ],
)
async def test_a_worker_that_has_no_platform_ends_after_a_while(error, limits, ends):
    platform = Platform()
    absence = Absence(**limits)
    async with running(platform, worker(), absence=absence) as (_, run):
        await asyncio.sleep(0.6)
        assert not run.done()
        platform.refuse = error
        platform.jobs.put_nowait(None)
        await asyncio.wait({run}, timeout=4)
        assert run.done() is absence.over is ends


async def test_a_stop_channel_that_fails_is_one_line_without_an_address(caplog, capsys):
    platform = Platform()
    platform.stop_error = refusal(401)
    async with running(platform, worker()):
        await asyncio.sleep(3)
    output = capsys.readouterr().out + caplog.text
    assert output.count("the stop channel fails") == 1
    assert "token" not in output


async def test_the_second_run_of_an_id_can_be_stopped_though_the_first_ended_after_it_began():
    platform, one = Platform(), worker(FAKE_DELAY_S="0.4", MODEL_MAX_BATCH_SIZE="1")
    async with running(platform, one) as (scaler, _):
        platform.put("job")
        await until(lambda: scaler.jobs_tasks)
        await asyncio.sleep(0.2)
        platform.put("job")
        await until(platform.results)
        assert "job" in scaler.jobs_tasks
        assert scaler.job_progress.get_job_list() == "job"
        platform.stops.put_nowait("job")
        await until(lambda: not scaler.jobs_tasks)
        await asyncio.sleep(0.6)
    assert platform.results() == ["job"]


async def test_a_stop_that_comes_as_the_job_ends_is_not_kept_for_its_next_run(monkeypatch):
    platform = Platform()
    async with running(platform, worker()) as (scaler, _):
        handle = type(scaler).__mro__[1].handle_job

        async def and_stop(self: Any, session: Any, job: Any) -> None:
            await handle(self, session, job)
            asyncio.get_running_loop().call_soon(
                lambda: asyncio.ensure_future(scaler.stop_job(job["id"]))
            )

        monkeypatch.setattr(type(scaler).__mro__[1], "handle_job", and_stop)
        platform.put("job")
        await until(platform.results)
        await asyncio.sleep(0.1)
        platform.put("job")
        await until(lambda: len(platform.results()) == 2, 3)


async def test_an_idle_worker_does_not_wait_for_the_end_of_its_poll():
    """A poll lasts up to 90 s; a container that is stopped is killed after ten."""
    platform = Platform()
    async with running(platform, worker(), last_poll_s=0.3) as (scaler, run):
        start = time.monotonic()
        scaler.kill_worker()
        await asyncio.wait_for(run, 5)
        assert 0.2 < time.monotonic() - start < 3


async def test_sigterm_after_the_end_is_no_error():
    platform = Platform()
    async with running(platform, worker()) as (scaler, run):
        scaler.kill_worker()
        platform.jobs.put_nowait(None)
        await run
        scaler._loop = asyncio.new_event_loop()
        scaler._loop.close()
        scaler.handle_shutdown(15, None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "401, message='Unauthorized', url='http://h:1/v2/all/job-stop/w?token=s3cret&x=1'",
            "401, message='Unauthorized', url='http://h:1/v2/all/job-stop/w?…'",
        ),
        (
            "Max retries exceeded with url: /v2/a/ping/w?token=s3cret&job_id=a%2Cb (Caused by x)",
            "Max retries exceeded with url: /v2/a/ping/w?… (Caused by x)",
        ),
        ("Is this a question? yes=1", "Is this a question? yes=1"),
    ],
)
async def test_addresses_are_logged_without_their_query(text, shown, capsys):
    assert masked(text) == shown
    runpod = import_runpod("ERROR")
    runpod.RunPodLogger().error(text)
    assert shown in capsys.readouterr().out

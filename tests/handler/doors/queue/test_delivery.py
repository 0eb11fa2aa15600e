"""Results on their way to a platform: tried again, given up, each under its own name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from handler.doors.queue.backoff import Pauses, asked_for_s
from handler.doors.queue.delivery import Delivery, Patience, Post, encoded
from handler.wire import Encoded, encode
from tests.support.servers import serve

pytestmark = pytest.mark.anyio


SHORT = Patience(first_pause_s=0.05)


class Sink:
    """Takes posts; answers each with the next of the statuses it was given, then with 200."""

    def __init__(self, *statuses: int, silent_s: float = 0, **headers: str) -> None:
        self.statuses = list(statuses)
        self.silent_s = silent_s
        self.headers = headers
        self.taken: list[tuple[str, str, bytes]] = []
        self.times: list[float] = []

    def application(self) -> web.Application:
        application = web.Application(client_max_size=10**9)
        application.router.add_post("/{job}", self._post)
        return application

    async def _post(self, request: web.Request) -> web.Response:
        self.times.append(time.monotonic())
        await asyncio.sleep(self.silent_s)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 200:
            name = request.headers["X-Request-ID"]
            self.taken.append((request.match_info["job"], name, await request.read()))
        return web.Response(status=status, headers=self.headers)


@asynccontextmanager
async def delivering(
    sink: Sink, time_s: float = 60, patience: Patience = SHORT
) -> AsyncIterator[tuple[Delivery, Callable[[str, bytes], Post], list[str]]]:
    """A delivery to a sink, what is to be posted there, and the jobs that it is done with."""
    done: list[str] = []
    with ExitStack() as stack:
        # On a thread: it has an event loop of its own, which cannot be started inside of another.
        url = await asyncio.to_thread(stack.enter_context, serve(sink.application()))
        async with aiohttp.ClientSession() as session:
            deadline = time.monotonic() + time_s
            post = lambda job, content: Post(session, job, f"{url}/{job}", content, deadline)  # noqa: E731
            yield Delivery(done.append, patience), post, done


async def until(true: Callable[[], Any], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not true():
            await asyncio.sleep(0.01)


async def test_many_results_at_once_each_have_their_own_name():
    """The SDK writes the id into headers that all of them share."""
    sink = Sink()
    async with delivering(sink) as (one, post, done):
        for n in range(200):
            one.result(post(f"job-{n}", f"{n}".encode()))
        await until(lambda: len(done) == 200)
    assert all(job == name for job, name, _ in sink.taken)
    assert {job: content for job, _, content in sink.taken} == {
        f"job-{n}": f"{n}".encode() for n in range(200)
    }


@pytest.mark.parametrize("status", [500, 502, 503, 408, 429])
async def test_what_may_go_well_later_is_tried_again_with_growing_pauses(status):
    sink = Sink(status, status, status)
    async with delivering(sink) as (one, post, done):
        one.result(post("job", b"x"))
        assert "job" in one
        await until(lambda: done)
    assert [content for _, _, content in sink.taken] == [b"x"]
    waited = [later - earlier for earlier, later in pairwise(sink.times)]
    assert len(waited) == 3
    assert waited[0] < waited[1] < waited[2]


async def test_a_platform_that_wants_no_pause_is_not_asked_without_one():
    sink = Sink(*[503] * 1000, **{"Retry-After": "0"})
    async with delivering(sink, 1) as (one, post, done):
        one.result(post("job", b"x"))
        await until(lambda: done)
    assert 2 < len(sink.times) < 10


async def test_the_platform_may_say_when():
    sink = Sink(503, **{"Retry-After": "1"})
    async with delivering(sink) as (one, post, done):
        one.result(post("job", b"x"))
        await until(lambda: done)
    assert sink.times[1] - sink.times[0] == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("status", [400, 401, 404, 413])
async def test_a_refusal_is_final_and_logged(status, caplog):
    sink = Sink(status)
    async with delivering(sink) as (one, post, done):
        one.result(post("job", b"x" * 1000))
        await until(lambda: done)
        assert "job" not in one
    assert len(sink.times) == 1
    [record] = caplog.records
    assert record.levelname == "ERROR"
    assert record.getMessage() == f"a result of 1000 bytes is lost: status {status}"
    assert record.job_id == "job"


async def test_a_job_whose_time_is_over_is_given_up(caplog):
    sink = Sink(*[500] * 100)
    async with delivering(sink, 1) as (one, post, done):
        start = time.monotonic()
        one.result(post("job", b"x"))
        await until(lambda: done)
        assert 0.9 < time.monotonic() - start < 2
    assert "is lost: status 500" in caplog.records[-1].getMessage()


async def test_nobody_listens(caplog):
    async with aiohttp.ClientSession() as session:
        done: list[str] = []
        end = time.monotonic() + 0.6
        Delivery(done.append, SHORT).result(
            Post(session, "job", "http://127.0.0.1:9/job", b"x", end)
        )
        await until(lambda: done)
    assert "ClientConnectorError" in caplog.records[-1].getMessage()
    assert "127.0.0.1" not in "".join(record.getMessage() for record in caplog.records)


async def test_no_job_is_taken_while_too_much_waits():
    sink = Sink(500, 500)
    patience = replace(SHORT, waiting_bytes=10_000)
    async with delivering(sink, patience=patience) as (one, post, done):
        assert one.has_room
        one.result(post("small", b"x"))
        assert one.has_room
        one.result(post("large", b"x" * 10_000))
        assert not one.has_room
        await until(lambda: len(done) == 2)
        assert one.has_room


async def test_at_the_end_what_waits_is_tried_at_once_and_for_a_while_only():
    sink = Sink(*[500] * 1000)
    patience = replace(SHORT, drain_s=1.0)
    async with delivering(sink, patience=patience) as (one, post, done):
        one.result(post("lost", b"x"))
        await until(lambda: len(sink.times) >= 6)  # by now it pauses for more than a second
        tries, start = len(sink.times), time.monotonic()
        await one.close()
        assert 0.9 < time.monotonic() - start < 2
        assert done == ["lost"]
        assert sink.times[tries] - start < 0.3


async def test_at_the_end_a_platform_that_never_answers_is_not_waited_for(caplog):
    sink = Sink(silent_s=30)
    patience = replace(SHORT, drain_s=0.3, least_s=0.2)
    async with delivering(sink, patience=patience) as (one, post, done):
        one.result(post("job", b"x"))
        await until(lambda: sink.times)
        start = time.monotonic()
        await one.close()
        assert time.monotonic() - start < 1
        await until(lambda: done)
    assert "1 results are lost" in caplog.records[-1].getMessage()


async def test_a_chunk_is_not_tried_for_long_and_known_to_be_lost(caplog):
    """A job waits for it, and holds its slot."""
    sink = Sink(500, 200, *[500] * 100)
    patience = replace(SHORT, chunk_s=0.5)
    async with delivering(sink, patience=patience) as (one, post, _):
        assert await one.chunk(post("job", b"x" * 10))
        start = time.monotonic()
        assert not await one.chunk(post("job", b"x" * 10))
        assert 0.4 < time.monotonic() - start < 1.5
    assert caplog.records[-1].getMessage() == "a chunk of 10 bytes is lost: status 500"


async def test_time_in_which_the_process_is_stopped_does_not_count():
    """A container that is frozen for longer than a chunk is tried: one more try after it wakes."""
    sink = Sink(500, 500)
    patience = replace(SHORT, chunk_s=0.5, least_s=0.2)
    async with delivering(sink, patience=patience) as (one, post, _):
        chunk = asyncio.create_task(one.chunk(post("job", b"x")))
        await until(lambda: sink.times)
        await asyncio.sleep(0.02)
        time.sleep(3)
        assert await chunk


async def test_two_results_of_one_job_are_both_waited_for():
    """It was run again while the first was still on its way."""
    sink = Sink(500, 500, 200, 500, 500)
    async with delivering(sink) as (one, post, done):
        one.result(post("job", b"1"))
        one.result(post("job", b"2"))
        await until(lambda: len(done) == 1)
        assert "job" in one
        await until(lambda: len(done) == 2)
        assert "job" not in one


@pytest.mark.parametrize(
    ("result", "content"),
    [
        ({"output": Encoded(encode({"a": [1, "ü"]}))}, '{"output": {"a": [1, "ü"]}}'),
        (
            {"output": Encoded(b"[1]"), "stopPod": True},
            '{"output": [1], "stopPod": true}',
        ),
        ({"output": [{"a": 1}]}, '{"output": [{"a": 1}]}'),
        ({"error": '{"code": "x"}'}, '{"error": "{\\"code\\": \\"x\\"}"}'),
    ],
)
async def test_an_answer_is_sent_as_it_was_encoded(result, content):
    assert encoded(result) == content.encode()


async def test_pauses_grow_and_end():
    growing = Pauses(first_s=0.05)
    grown = [growing.grow() for _ in range(12)]
    assert grown[0] < 0.061
    assert all(later > 1.3 * earlier for earlier, later in pairwise(grown[:5]))
    assert max(grown) < 12.1
    growing.end()
    assert growing.grow() < 0.061


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("5", 5.0), ("0", 0.0), ("100000", 60.0), ("", None), ("soon", None), ("-1", None),
     ("Wed, 21 Oct 2026 07:28:00 GMT", None)],
)  # fmt: skip
async def test_what_a_platform_asks_for(given, seconds):
    assert asked_for_s({"Retry-After": given}) == seconds
    assert asked_for_s({}) is None

"""More requests than a worker may answer at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import openai
import pytest

from handler.doors.http.crowd import CrowdLimits
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.serving import in_process

pytestmark = pytest.mark.anyio


def slow(make_worker):
    return make_worker(FAKE_DELAY_S="0.2")


async def many(client: httpx.AsyncClient, count: int, **body: object) -> list[httpx.Response]:
    sent = [client.post("/v1/embeddings", json={**EMBEDDINGS, **body}) for _ in range(count)]
    return list(await asyncio.gather(*sent))


async def test_a_request_too_many_is_told_when_to_come_again(make_worker):
    limits = CrowdLimits(lambda: 3)
    async with in_process(slow(make_worker), preload=False, crowd_limits=limits) as (_, client):
        answers = await many(client, 8)
        taken = [answer for answer in answers if answer.status_code == 200]
        refused = [answer for answer in answers if answer.status_code == 429]
        assert (len(taken), len(refused)) == (3, 5)
        for answer in refused:
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            error = answer.json()["error"]
            assert (error["code"], error["type"], error["param"]) == (
                "worker_busy",
                "server_error",
                None,
            )
            assert "3 requests" in error["message"]
        metrics = (await client.get("/metrics")).text
        assert 'quartet_requests_total{code="worker_busy",route="/v1/embeddings"} 5.0' in metrics
        assert [answer.status_code for answer in await many(client, 3)] == [200] * 3


async def test_bytes_are_bounded_too_and_one_alone_is_taken(make_worker):
    limits = CrowdLimits(size_bytes=20_000)
    async with in_process(slow(make_worker), preload=False, crowd_limits=limits) as (_, client):
        assert (await many(client, 1, input="x" * 50_000))[0].status_code == 200
        codes = sorted(answer.status_code for answer in await many(client, 4, input="x" * 9000))
        assert codes == [200, 200, 429, 429]


async def test_bytes_without_a_declared_length_count_as_they_come(make_worker):
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"input": "' + b"x" * 30_000
        await asyncio.sleep(0.3)
        yield b'"}'

    limits = CrowdLimits(size_bytes=20_000)
    kind = {"content-type": "application/json"}
    async with in_process(slow(make_worker), preload=False, crowd_limits=limits) as (_, client):
        first = asyncio.ensure_future(client.post("/v1/embeddings", content=pieces(), headers=kind))
        await asyncio.sleep(0.1)
        [second] = await many(client, 1)
        assert second.status_code == 429
        assert (await first).status_code == 200
        assert (await many(client, 1))[0].status_code == 200


async def test_a_stream_holds_its_place_to_its_end_and_a_client_that_leaves_frees_it(make_worker):
    limits = CrowdLimits(lambda: 1)
    worker = make_worker(FAKE_DELAY_S="0.05")
    async with in_process(worker, preload=False, crowd_limits=limits) as (_, client):
        body = {**CHAT, "stream": True}
        streamed = asyncio.ensure_future(client.post("/v1/chat/completions", json=body))
        await asyncio.sleep(0.12)
        assert (await many(client, 1))[0].status_code == 429
        assert (await streamed).status_code == 200
        left = asyncio.ensure_future(client.post("/v1/chat/completions", json=body))
        await asyncio.sleep(0.12)
        left.cancel()
        await asyncio.sleep(0.1)
        assert (await many(client, 1))[0].status_code == 200


async def test_what_is_cheap_is_answered_in_a_crowd(make_worker):
    limits = CrowdLimits(lambda: 1)
    async with in_process(slow(make_worker), preload=False, crowd_limits=limits) as (_, client):
        busy = asyncio.ensure_future(client.post("/v1/embeddings", json=EMBEDDINGS))
        await asyncio.sleep(0.1)
        for path in ("/ping", "/v1/models", "/metrics"):
            assert (await client.get(path)).status_code == 200
        await busy


async def test_the_openai_package_comes_again(make_worker):
    limits = CrowdLimits(lambda: 1)
    async with in_process(slow(make_worker), preload=False, crowd_limits=limits) as (_, http):
        client = openai.AsyncOpenAI(
            base_url="http://door/v1", api_key="x", http_client=http, max_retries=8
        )
        embed = client.embeddings.create
        for _ in range(2):  # so that the worker knows its pace
            await embed(model="", input="x")
        answers = await asyncio.gather(*(embed(model="", input="x") for _ in range(3)))
        assert all(len(answer.data) == 1 for answer in answers)


async def test_clients_that_send_slowly_or_declare_much_hold_up_nobody(make_worker):
    async def never() -> AsyncIterator[bytes]:
        yield b'{"input": "'
        await asyncio.sleep(60)

    limits = CrowdLimits(lambda: 1, size_bytes=20_000)
    kind = {"content-type": "application/json"}
    async with in_process(slow(make_worker), preload=False, crowd_limits=limits) as (_, client):
        post = client.post
        lying = {**kind, "content-length": "19999"}
        slow_ones = [
            asyncio.ensure_future(post("/v1/embeddings", content=never(), headers=headers))
            for headers in (kind, kind, lying)
        ]
        await asyncio.sleep(0.1)
        assert [answer.status_code for answer in await many(client, 1)] == [200]
        for task in slow_ones:
            task.cancel()
        await asyncio.gather(*slow_ones, return_exceptions=True)


async def test_a_body_that_becomes_whole_in_a_crowd_is_refused_too(make_worker):
    async def pieces() -> AsyncIterator[bytes]:
        yield b'{"input": "x'
        await asyncio.sleep(0.1)
        yield b'"}'

    limits = CrowdLimits(lambda: 1)
    kind = {"content-type": "application/json"}
    async with in_process(slow(make_worker), preload=False, crowd_limits=limits) as (_, client):
        first = asyncio.ensure_future(client.post("/v1/embeddings", content=pieces(), headers=kind))
        await asyncio.sleep(0.05)
        [second] = await many(client, 1)
        late = await first
    assert second.status_code == 200
    assert late.status_code == 429
    assert late.json()["error"]["code"] == "worker_busy"
    assert int(late.headers["retry-after"]) >= 1

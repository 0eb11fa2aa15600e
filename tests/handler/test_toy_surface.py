"""A surface from outside the tree, whose answers are files: contract, engine, registration, and both doors."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import httpx
import pytest

from handler.contract.base import Call, Operation, Surface
from handler.contract.request import NonEmpty, Request
from handler.wire import File
from models.catalog import CPU
from models.fake import FakeEngine
from models.row import Catalog, Row
from models.work import Ticket
from tests.conftest import decoded, error_of
from tests.support.serving import in_process

pytestmark = pytest.mark.anyio


class Beeps(FakeEngine):
    """As many samples as a text has letters."""

    def answer_one(self, ticket: Ticket[str]) -> bytes:
        return b"\x00\xff" * len(ticket.item)


class BeepRequest(Request):
    text: NonEmpty


async def beep(call: Call) -> File:
    async with call.lease() as model:
        sound = await model.run(call.request.text)
    return File(sound, "audio/basic", "beep.au", {"format": "au", "duration": 0.5})


BEEPS = Surface(
    name="beeps",
    operations=(
        Operation(request=BeepRequest, routes=("/v1/audio/beep",), answer=beep, marks=("text",)),
    ),
    concurrency=1,
)
ROW = Row(
    slug="Beep", surface="beeps", tasks=frozenset({"txt2beep"}), weights="file:///", memory_bytes=1,
    engine=f"{__name__}:Beeps", licence="MIT", default_on=CPU,
)  # fmt: skip


@pytest.fixture
def worker(make_worker: Any) -> Any:
    """A worker of the toy alone."""
    made = make_worker(SURFACE="embeddings")
    endpoint = replace(made.endpoint, surfaces={"beeps": BEEPS}, catalog=Catalog([ROW]))
    return replace(made, reception=replace(made.reception, endpoint=endpoint))


async def test_over_http_a_file_leaves_as_it_is(worker):
    async with in_process(worker, preload=False) as (_, client):
        answer = await client.post("/v1/audio/beep", json={"text": "abc"})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "audio/basic"
        assert answer.content == b"\x00\xff" * 3
        assert answer.headers["x-request-id"]
        models = (await client.get("/v1/models")).json()["data"]
        assert [one["id"] for one in models] == ["Beep"]
        wrong = await client.post("/v1/audio/beep", json={"text": ""})
        assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "text")


async def test_behind_the_queue_it_is_an_object(worker):
    answer = decoded(await worker.answer({"id": "j", "input": {"text": "abcd"}}))
    assert answer.pop("b64_json") == base64.b64encode(b"\x00\xff" * 4).decode()
    assert answer == {"format": "au", "duration": 0.5}


async def test_with_a_bucket_it_is_an_address(worker):
    class Stored:
        async def store(self, place: str, content: bytes, media_type: str) -> str:
            assert (place, content, media_type) == ("j/beep.au", b"\x00\xff", "audio/basic")
            return "https://bucket/beep"

    worker = replace(worker, dispatcher=replace(worker.dispatcher, bucket=Stored()))
    answer = decoded(await worker.answer({"id": "j", "input": {"text": "a"}}))
    assert answer == {"format": "au", "duration": 0.5, "url": "https://bucket/beep"}


async def test_one_that_is_too_large_is_refused_at_both_doors(worker):
    worker = replace(worker, output_limit_bytes=100)
    error = error_of(await worker.answer({"id": "j", "input": {"text": "a" * 60}}))
    assert error["code"] == "output_too_large"
    async with in_process(worker, preload=False) as (_, client):
        answer = await client.post("/v1/audio/beep", json={"text": "a" * 60})
        assert answer.json()["error"]["code"] == "output_too_large"


async def test_a_text_is_text_over_http_and_a_string_behind_the_queue(worker):
    async def spell(call: Call) -> str:
        return " ".join(call.request.text)

    operation = replace(BEEPS.operations[0], answer=spell)
    surfaces = {"beeps": replace(BEEPS, operations=(operation,))}
    endpoint = replace(worker.endpoint, surfaces=surfaces)
    worker = replace(worker, reception=replace(worker.reception, endpoint=endpoint))
    answer = await worker.answer({"id": "j", "input": {"text": "né"}})
    assert json.loads(answer.content) == "n é"
    async with in_process(worker, preload=False) as (_, client):
        got: httpx.Response = await client.post("/v1/audio/beep", json={"text": "né"})
        assert (got.text, got.headers["content-type"]) == ("n é", "text/plain; charset=utf-8")

"""Results in a bucket of a real S3-protocol server on loopback, moto's."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest
from aiohttp import web
from PIL import Image

from handler.media.bucket import signer
from tests.conftest import decoded, error_of
from tests.support.servers import serve

pytestmark = pytest.mark.anyio

KEYS = {"BUCKET_ACCESS_KEY_ID": "key-id-7", "BUCKET_SECRET_ACCESS_KEY": "hush-hush"}
SECRETS = ("key-id-7", "hush-hush", "X-Amz-Signature")
IMAGE = {"prompt": "x", "n": 2, "seed": 1}
ONE = {**IMAGE, "n": 1}
BUSY = (503, "<Error><Code>SlowDown</Code><Message>hush-hush</Message></Error>")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer  # Flask and all: only for those who need it

    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def worker_at(make_worker):
    """A worker with the bucket ``results`` at an address."""

    def at(url: str, **more: str) -> Any:
        given = {"BUCKET_ENDPOINT_URL": url, "BUCKET_NAME": "results", **KEYS, **more}
        return make_worker(**given)

    return at


@pytest.fixture
def s3(server, worker_at) -> Any:
    """boto3 at the server, beside the worker; the bucket ``results`` is new and empty."""
    client = signer(worker_at(server).dispatcher.bucket.config)
    client.create_bucket(Bucket="results")
    yield client
    for one in client.list_objects_v2(Bucket="results").get("Contents", ()):
        client.delete_object(Bucket="results", Key=one["Key"])
    client.delete_bucket(Bucket="results")
    client.close()


def stored(s3: Any) -> dict[str, Any]:
    """Name to size of what the bucket holds."""
    found = s3.list_objects_v2(Bucket="results").get("Contents", ())
    return {one["Key"]: one["Size"] for one in found}


async def get(url: str) -> tuple[int, bytes, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.read(), response.content_type


class Front:
    """Stands before a store: answers uploads with what is given, then lets them through.

    Attributes:
        url: where it is.
        answers: pairs of a status and a body; status 0 breaks off, None never answers.
        always: give the first one to every upload.
        puts: when each upload came.
    """

    def __init__(self, store: str) -> None:
        self.store = store
        self.url = ""
        self.answers: list[tuple[int | None, str]] = []
        self.always = False
        self.puts: list[float] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.method == "PUT":
            self.puts.append(time.monotonic())
            if self.answers:
                return await self.refuse(request)
        headers = {"Content-Type": request.headers.get("Content-Type", "")}
        where = f"{self.store}{request.path_qs}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, where, data=body, headers=headers) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read())

    async def refuse(self, request: web.Request) -> web.Response:
        status, text = self.answers[0] if self.always else self.answers.pop(0)
        if status is None:
            await asyncio.sleep(60)
        if not status:
            request.transport.abort()
        headers = {"Location": f"{self.store}/elsewhere"} if status in (301, 307) else None
        return web.Response(status=status or 500, text=text, headers=headers)


@pytest.fixture
def front(server) -> Iterator[Front]:
    front = Front(server)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", front.handle)
    with serve(application) as front.url:
        yield front


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
async def test_a_picture_is_stored_as_what_it_is_and_read_back(worker_at, server, s3, kind):
    body = {**IMAGE, "n": 3, "output_format": kind}
    answer = decoded(await worker_at(server).answer({"id": "job-1", "input": body}))
    held = stored(s3)
    assert len(answer["data"]) == len(held) == 3
    for one in answer["data"]:
        status, content, content_type = await get(one["url"])
        assert (status, content_type) == (200, f"image/{kind}")
        picture = Image.open(io.BytesIO(content))
        assert (picture.format, picture.size) == (kind.upper(), (one["width"], one["height"]))
        name = urlsplit(one["url"]).path.removeprefix("/results/")
        assert name.endswith(f"/job-1/{one['seed']}.{kind}")
        assert held.pop(name) == len(content)
        assert s3.head_object(Bucket="results", Key=name)["ContentType"] == f"image/{kind}"


async def test_a_link_is_signed_for_its_lifetime(worker_at, server, s3):
    """moto does not check when a link was signed, so that what S3 would check is read here."""
    worker = worker_at(server, BUCKET_URL_TTL_S="120")
    link = decoded(await worker.answer({"input": IMAGE}))["data"][0]["url"]
    signed = {name: value for name, (value,) in parse_qs(urlsplit(link).query).items()}
    assert signed["X-Amz-Expires"] == "120"
    assert signed["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
    assert signed["X-Amz-SignedHeaders"] == "host"
    assert len(signed["X-Amz-Signature"]) == 64
    since = time.mktime(time.strptime(signed["X-Amz-Date"], "%Y%m%dT%H%M%SZ")) - time.timezone
    assert abs(time.time() - since) < 60
    assert (await get(link))[0] == 200
    assert (await get(link.partition("?")[0]))[0] == 403  # nobody reads it without a signature


async def test_an_unknown_bucket_is_named_as_the_reason(worker_at, server):
    error = error_of(await worker_at(server, BUCKET_NAME="nowhere").answer({"input": IMAGE}))
    assert error["code"] == "storage_failed"
    assert error["message"].endswith(
        "status 404 (NoSuchBucket): there is no such bucket; create it or correct its name."
    )


async def test_a_bucket_that_forbids_writing(worker_at, server, s3):
    rule = {"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject", "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [rule]}
    s3.put_bucket_policy(Bucket="results", Policy=json.dumps(policy))
    error = error_of(await worker_at(server).answer({"input": IMAGE}))
    assert error["message"].endswith(
        "status 403: the keys are not allowed to write to it; allow them s3:PutObject."
    )
    assert stored(s3) == {}


@pytest.mark.parametrize("answer", [BUSY, (429, "")], ids=["503", "429"])
async def test_a_store_that_is_busy_twice_loses_nothing(worker_at, front, s3, answer, caplog):
    front.answers = [answer, answer]
    data = decoded(await worker_at(front.url).answer({"input": ONE}))["data"]
    assert [(await get(one["url"]))[0] for one in data] == [200]
    assert len(stored(s3)) == 1
    first, second, third = front.puts
    assert second - first > 0.15
    assert third - second > 0.3
    told = [one.getMessage() for one in caplog.records if one.name.startswith("handler.media")]
    assert len(told) == 2
    assert not any(secret in line for line in told for secret in SECRETS)


async def test_a_connection_that_breaks_twice_loses_nothing(worker_at, front, s3):
    """aiohttp itself sends again what a connection broke off with, once and at once."""
    front.answers = [(0, "")] * 3
    data = decoded(await worker_at(front.url).answer({"input": ONE}))["data"]
    assert [(await get(one["url"]))[0] for one in data] == [200]
    assert len(stored(s3)) == 1
    assert len(front.puts) == 4


async def test_a_store_that_stays_busy(worker_at, front, caplog):
    front.answers, front.always = [BUSY], True
    worker = worker_at(front.url)
    with caplog.at_level(logging.DEBUG, "handler"):
        error = error_of(await worker.answer({"input": ONE}))
    assert error["code"] == "storage_failed"
    assert error["message"].endswith("the bucket answered with status 503 (SlowDown).")
    assert len(front.puts) == 4
    bucket = worker.dispatcher.bucket
    everything = f"{error} {caplog.text} {bucket} {bucket.config!r} {bucket.config}"
    assert not any(secret in everything for secret in SECRETS)


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (403, "<Error><Code>SignatureDoesNotMatch</Code><Message>hush</Message></Error>",
         "(SignatureDoesNotMatch): the secret key is not that of the access key."),
        (403, "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>",
         "(AccessDenied): the clocks of the worker and of the store differ."),
        (403, "<Error><Code>AccessDenied</Code><Message>Request is not valid yet</Message></Error>",
         "(AccessDenied): the clocks of the worker and of the store differ."),
        (403, "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>",
         "(AccessDenied): the keys are not allowed to write to it; allow them s3:PutObject."),
        (403, "hush", "403: the keys are not allowed to write to it; allow them s3:PutObject."),
        (404, "", "404: there is no such bucket; create it or correct its name."),
        (400, "<Code>hush hush</Code>" + 9000 * "hush", "status 400."),
        (301, "<Error><Code>PermanentRedirect</Code><Endpoint>hush</Endpoint></Error>",
         "(PermanentRedirect): it is in another region or at another address; correct the region "
         "or the endpoint."),
        (307, "", "in another region or at another address; correct the region or the endpoint."),
    ],
)  # fmt: skip
async def test_what_no_later_try_can_mend_is_tried_once(worker_at, front, status, body, told):
    front.answers, front.always = [(status, body)], True
    error = error_of(await worker_at(front.url).answer({"input": ONE}))
    assert error["code"] == "storage_failed"
    assert f"status {status}" in error["message"]
    assert error["message"].endswith(told)
    assert "hush" not in error["message"]
    assert len(front.puts) == 1


async def test_a_cancelled_upload_is_not_tried_again(worker_at, front):
    front.answers, front.always = [BUSY], True
    bucket = worker_at(front.url).dispatcher.bucket
    task = asyncio.create_task(bucket.store("x.png", b"x", "image/png"))
    while not front.puts:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.4)
    assert len(front.puts) == 1


async def test_all_tries_together_have_an_end(worker_at, front):
    """A store that never answers: each try has a transfer's time, all of them twice that."""
    front.answers, front.always = [(None, "")], True
    began = time.monotonic()
    error = error_of(await worker_at(front.url, MEDIA_TIMEOUT_S="0.4").answer({"input": ONE}))
    assert error["code"] == "storage_failed"
    assert error["message"].endswith("did not take it in time.")
    assert len(front.puts) == 2
    assert time.monotonic() - began < 2


async def test_a_stores_client_is_made_once(worker_at, server, s3):
    config = worker_at(server).dispatcher.bucket.config
    before = signer.cache_info()
    for _ in range(2):
        decoded(await worker_at(server).answer({"input": IMAGE}))
    after = signer.cache_info()
    assert (after.misses, after.hits) == (before.misses, before.hits + 4)
    assert signer(config.model_copy(update={"region": "eu-west-1"})) is not signer(config)
    assert after.maxsize is not None


async def test_several_pictures_are_uploaded_together(worker_at, front, s3):
    """One that fails in the end fails the job, when the others are over."""
    front.answers = [(403, "")]
    error = error_of(await worker_at(front.url).answer({"input": {**IMAGE, "n": 3}}))
    assert error["code"] == "storage_failed"
    assert len(front.puts) == 3
    assert len(stored(s3)) == 2


async def test_a_video_is_stored_as_one(worker_at, server, s3):
    worker = worker_at(server, FAKE_ENGINES="0", SURFACE="images")
    body = {"model": "Tiny_Ltx2", "prompt": "waves", "size": "96x64", "frames": 9, "seed": 5}
    answer = decoded(await worker.answer({"id": "job-v", "input": body}))
    [video] = answer["data"]
    [key] = stored(s3)
    assert key.endswith("/job-v/5.mp4")
    status, content, kind = await get(video["url"])
    assert (status, kind) == (200, "video/mp4")
    assert content[4:8] == b"ftyp"
    assert (video["frames"], video["seconds"]) == (9, 0.375)

"""Signatures by the store's clock, where the worker's is wrong."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from handler.media.bucket import BucketConfig, signer
from handler.media.signatures import StoreClocks
from tests.conftest import decoded, error_of
from tests.support.servers import serve

pytestmark = pytest.mark.anyio

BODY = {"prompt": "x", "seed": 1}
EXPIRED = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
EARLY = "<Error><Code>AccessDenied</Code><Message>Request is not valid yet</Message></Error>"
SKEWED = "<Error><Code>RequestTimeTooSkewed</Code><Message>too large</Message></Error>"


def moment(url: str) -> float:
    """Return the time of a presigned URL."""
    [date] = parse_qs(urlsplit(url).query)["X-Amz-Date"]
    return time.mktime(time.strptime(date, "%Y%m%dT%H%M%SZ")) - time.timezone


class Store:
    """A store whose clock is ahead of this machine's, and which refuses other times.

    Attributes:
        puts: the answers to uploads.
    """

    def __init__(self, ahead_s: float, refusal: str, *, has_date: bool = True) -> None:
        self._ahead_s = ahead_s
        self._refusal = refusal
        self._has_date = has_date
        self.puts: list[int] = []

    async def put(self, request: web.Request) -> web.Response:
        now = time.time() + self._ahead_s
        right = abs(moment(str(request.url)) - now) < 900
        date = formatdate(now, usegmt=True) if self._has_date else "once upon a time"
        self.puts.append(200 if right else 403)
        content = "" if right else self._refusal
        return web.Response(status=self.puts[-1], text=content, headers={"Date": date})


def application(store: Store) -> web.Application:
    made = web.Application()
    made.router.add_put("/{path:.*}", store.put)
    return made


def variables(url: str) -> dict[str, str]:
    keys = {"BUCKET_ACCESS_KEY_ID": "key-id", "BUCKET_SECRET_ACCESS_KEY": "hush"}
    return {"BUCKET_ENDPOINT_URL": url, "BUCKET_NAME": "results", **keys}


@pytest.mark.parametrize(("ahead_s", "refusal"), [
    (7200, EXPIRED), (-7200, EARLY), (1800, SKEWED),
])  # fmt: skip
async def test_a_worker_whose_clock_is_wrong_signs_by_the_stores(make_worker, ahead_s, refusal):
    store = Store(ahead_s, refusal)
    with serve(application(store)) as url:
        worker = make_worker(**variables(url))
        answers = [decoded(await worker.answer({"input": BODY})) for _ in range(2)]
    assert store.puts == [403, 200, 200], "it is refused once"
    for answer in answers:
        [picture] = answer["data"]
        assert moment(picture["url"]) == pytest.approx(time.time() + ahead_s, abs=60)


async def test_uploads_that_are_refused_together_are_all_signed_again(make_worker):
    store = Store(7200, EXPIRED)
    with serve(application(store)) as url:
        worker = make_worker(**variables(url))
        jobs = [worker.answer({"input": {**BODY, "n": 4}}) for _ in range(4)]
        answers = [decoded(answer) for answer in await asyncio.gather(*jobs)]
    assert [len(answer["data"]) for answer in answers] == [4] * 4
    assert store.puts.count(200) == 16


async def test_a_store_that_does_not_say_its_time_is_named_as_the_reason(make_worker):
    store = Store(7200, EXPIRED, has_date=False)
    with serve(application(store)) as url:
        error = error_of(await make_worker(**variables(url)).answer({"input": BODY}))
    assert store.puts == [403]
    assert error["code"] == "storage_failed"
    assert error["message"].endswith("the clocks of the worker and of the store differ.")


@pytest.mark.parametrize(("method", "key"), [
    ("PUT", "0f/job-1/1.png"), ("GET", "0f/job 1/ü+%25&=.wav"), ("DELETE", "0f/a~b_(c)"),
])  # fmt: skip
@pytest.mark.parametrize("endpoint", [
    "https://s3.eu-central-1.amazonaws.com", "https://account.r2.cloudflarestorage.com/results",
    "http://127.0.0.1:9000",
])  # fmt: skip
def test_a_signature_is_botocores(method, key, endpoint):
    config = BucketConfig(
        endpointUrl=endpoint, accessId="key-id", accessSecret="hush", bucketName="results"
    )
    given: dict[str, Any] = {"Bucket": "results", "Key": key}
    headers = {"Content-Type": "image/png"} if method == "PUT" else {}
    if headers:
        given["ContentType"] = "image/png"
    operation = f"{method.lower()}_object"
    url = signer(config).generate_presigned_url(operation, given, ExpiresIn=77)
    again = config.signature.at(moment(url), method, url, headers, 77)
    assert parse_qs(urlsplit(again).query) == parse_qs(urlsplit(url).query)
    assert urlsplit(again)[:3] == urlsplit(url)[:3]
    assert config.signature.at(moment(url) + 1, method, url, headers, 77) != url


def test_clocks_that_agree_are_not_the_reason():
    clocks = StoreClocks()
    assert not clocks.learn("https://store", formatdate(usegmt=True), time.time())
    assert not clocks.learn("https://store", "", time.time())
    assert not clocks.knows("https://store")
    assert clocks.learn("https://store", formatdate(time.time() + 3600, usegmt=True), time.time())
    assert clocks.now_s("https://store") == pytest.approx(time.time() + 3600, abs=5)
    assert clocks.now_s("https://another") == pytest.approx(time.time(), abs=5)


@pytest.mark.parametrize("date", [
    "Mon, 01 Jan 1900 00:00:00 -0000", "Fri, 31 Dec 9999 23:59:59 -0001", "x" * 100_000,
    "Fri, 31 Dec 9999 23:59:59 +99999999", "Fri, 31 Dec 99999 23:59:59 GMT", "-1", "\x00",
    "Thu, 01 Jan 1970 00:00:00 GMT",
])  # fmt: skip
def test_a_date_that_is_none_is_not_learnt(date):
    clocks = StoreClocks()
    assert not clocks.learn("https://store", date, time.time())
    assert not clocks.knows("https://store")


def test_as_many_clocks_are_kept_as_there_are_stores_of_one_worker():
    clocks = StoreClocks()
    date = formatdate(time.time() + 3600, usegmt=True)
    for number in range(1000):
        clocks.learn(f"https://store-{number}", date, time.time())
    assert sum(clocks.knows(f"https://store-{number}") for number in range(1000)) <= 64

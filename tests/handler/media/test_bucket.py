"""Results in a bucket: a loopback store that checks what S3 would check."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from tests.conftest import decoded, error_of
from tests.support.buckets import read, store, variables  # noqa: F401 - store is a fixture

pytestmark = pytest.mark.anyio

IMAGE = {"prompt": "x", "n": 2, "seed": 1}


async def test_images_leave_as_urls_where_a_bucket_is(make_worker, store):
    kept, url = store
    answer = decoded(await make_worker(**variables(url)).answer({"id": "job-1", "input": IMAGE}))
    assert [set(one) for one in answer["data"]] == [{"url", "seed", "width", "height"}] * 2
    for one in answer["data"]:
        assert one["url"].startswith(f"{url}/results/")
        assert "/job-1/" in one["url"]
        assert Image.open(io.BytesIO(await read(one["url"]))).size == (64, 64)
    assert {kind for _, kind in kept.objects.values()} == {"image/png"}


async def test_base64_can_still_be_asked_for(make_worker, store):
    kept, url = store
    body = {**IMAGE, "response_format": "b64_json"}
    answer = decoded(await make_worker(**variables(url)).answer({"id": "j", "input": body}))
    assert base64.b64decode(answer["data"][0]["b64_json"])[:4] == b"\x89PNG"
    assert kept.objects == {}


async def test_a_jobs_own_bucket(make_worker, store):
    _, url = store
    config = {
        "accessId": "key-id",
        "accessSecret": "hush",
        "bucketName": "mine",
        "endpointUrl": url,
    }
    worker = make_worker(MEDIA_PRIVATE_HOSTS="127.0.0.1")
    for job in (
        {"id": "j", "input": IMAGE, "s3Config": config},
        {"id": "j", "input": {"input": IMAGE, "s3Config": config}},
    ):
        answer = decoded(await worker.answer(job))
        assert answer["data"][0]["url"].startswith(f"{url}/mine/")


@pytest.mark.parametrize("config", [{"bucket": "mine"}, {"bucket": "mine", "accessId": None}])
async def test_a_jobs_bucket_of_the_endpoints_own_store(make_worker, store, config):
    """The gateway's form: no keys, so those of the endpoint."""
    kept, url = store
    worker = make_worker(**variables(url))
    for job in (
        {"id": "j", "input": IMAGE, "s3Config": {**config, "region": "eu-west-1"}},
        {"id": "j", "input": {"input": IMAGE, "s3Config": config}},
        {"id": "j", "input": {**IMAGE, "s3Config": config}},  # a bare body of its direct routes
    ):
        answer = decoded(await worker.answer(job))
        for one in answer["data"]:
            assert one["url"].startswith(f"{url}/mine/")
            assert await read(one["url"])
    assert all(path.startswith("/mine/") for path in kept.objects)


async def test_the_region_of_a_jobs_bucket_is_signed(make_worker, store):
    _, url = store
    job = {"input": IMAGE, "s3Config": {"bucket": "mine", "region": "eu-west-1"}}
    answer = decoded(await make_worker(**variables(url)).answer(job))
    assert "eu-west-1" in answer["data"][0]["url"]


async def test_a_bucket_without_keys_needs_a_store(make_worker):
    job = {"input": IMAGE, "s3Config": {"bucket": "mine"}}
    error = error_of(await make_worker().answer(job))
    assert (error["code"], error["param"]) == ("bucket_not_configured", "s3Config")
    assert "BUCKET_" in error["message"]


@pytest.mark.parametrize(
    ("half", "missing"),
    [
        ({"region": "eu-west-1"}, "bucket"),
        ({"bucket": "a b"}, "bucket"),
        ({"bucket": 7}, "bucket"),
        ({"bucketName": "mine"}, "accessId, accessSecret, endpointUrl"),
        ({"bucket": "mine", "aws_access_key_id": "hush"}, "aws_access_key_id"),
        ({"bucket": "mine", "accessId": "k"}, "accessSecret, endpointUrl"),
        ({"accessId": "k", "accessSecret": "hush", "endpointUrl": "https://a.b"}, "bucketName"),
        ({"bucketName": "mine", "endpointUrl": "https://a.b"}, "accessId, accessSecret"),
    ],
)
async def test_half_an_s3_config_says_what_is_missing(make_worker, store, half, missing):
    _, url = store
    worker = make_worker(**variables(url))
    error = error_of(await worker.answer({"input": IMAGE, "s3Config": half}))
    assert (error["code"], error["param"]) == ("invalid_value", "s3Config")
    assert error["message"].endswith(f"wrong or missing: {missing}.")
    assert "hush" not in error["message"]


async def test_a_job_cannot_send_us_into_a_private_network(make_worker, store):
    kept, url = store
    config = {"accessId": "key-id", "accessSecret": "hush", "bucketName": "mmm", "endpointUrl": url}
    error = error_of(await make_worker().answer({"input": IMAGE, "s3Config": config}))
    assert (error["code"], error["param"]) == ("media_address_forbidden", "s3Config")
    assert kept.objects == {}
    assert "hush" not in json.dumps(error)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bucketName": "a b"}, {"endpointUrl": "http://[::1"}, {"endpointUrl": "http://[]@/"}, {"endpointUrl": "ftp://a.b"},
        {"endpointUrl": "http://a.b:99999"}, {"bucketName": ""}, {"accessId": 7}, {"region": "a b"},
    ],
)  # fmt: skip
async def test_a_jobs_bucket_that_cannot_be(make_worker, wrong):
    good = {
        "accessId": "k",
        "accessSecret": "hush",
        "bucketName": "m",
        "endpointUrl": "https://a.b",
    }
    job = {"input": IMAGE, "s3Config": {**good, "bucketName": "mmm", **wrong}}
    error = error_of(await make_worker().answer(job))
    assert (error["code"], error["param"]) == ("invalid_value", "s3Config")
    assert "hush" not in error["message"]


async def test_an_operators_bucket_on_ipv6_and_with_capitals(make_worker):
    for url, host in (("http://[::1]:9000", "::1"), ("http://MinIO:9000", "minio")):
        bucket = make_worker(**variables(url)).dispatcher.bucket
        assert host in bucket.guard.private_hosts


@pytest.mark.parametrize("status", [403, 500, 301])
async def test_a_bucket_that_refuses(make_worker, store, status):
    kept, url = store
    kept.status = status
    error = error_of(await make_worker(**variables(url)).answer({"input": IMAGE}))
    assert error["code"] == "storage_failed"
    assert str(status) in error["message"]


async def test_a_bucket_that_is_gone(make_worker):
    error = error_of(await make_worker(**variables("http://127.0.0.1:9")).answer({"input": IMAGE}))
    assert error["code"] == "storage_failed"
    assert "127.0.0.1" not in error["message"]


async def test_an_answer_over_the_limit_is_stored(make_worker, store):
    kept, url = store
    worker = make_worker(**variables(url), OUTPUT_LIMIT_BYTES="2000")
    body = {"input": [f"text {n}" for n in range(50)]}
    answer = decoded(await worker.answer({"id": "j", "input": body}))
    assert set(answer) == {"object", "url", "bytes"}
    whole: dict[str, Any] = json.loads(await read(answer["url"]))
    assert len(whole["data"]) == 50
    assert {kind for _, kind in kept.objects.values()} == {"application/json"}

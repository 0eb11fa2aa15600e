"""The region that a store is signed for, and where the bucket is in its address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web

from handler.media.bucket import Bucket, BucketChoice, BucketConfig, read_s3_config, signer
from handler.media.guard import Guard
from handler.settings.variables import Settings
from models.weights.regions import address_of, region_of
from tests.support.servers import serve

ACCOUNT = "0123456789abcdef" * 2

# As each store's own pages give them.
REGIONS = {
    "s3.amazonaws.com": "us-east-1",
    "s3.eu-west-1.amazonaws.com": "eu-west-1",
    "s3-eu-west-1.amazonaws.com": "eu-west-1",
    "s3-external-1.amazonaws.com": "us-east-1",
    "s3.dualstack.ap-south-1.amazonaws.com": "ap-south-1",
    "s3-fips.us-gov-west-1.amazonaws.com": "us-gov-west-1",
    "s3-fips.dualstack.us-east-2.amazonaws.com": "us-east-2",
    "s3.cn-north-1.amazonaws.com.cn": "cn-north-1",
    "mine.s3.eu-west-1.amazonaws.com": "eu-west-1",
    "my.dots.s3-us-west-2.amazonaws.com": "us-west-2",
    "mine.s3.amazonaws.com": "us-east-1",
    "mine.s3-accelerate.amazonaws.com": "us-east-1",
    "bucket.vpce-1a2b-3c4d.s3.eu-central-1.vpce.amazonaws.com": "eu-central-1",
    f"{ACCOUNT}.r2.cloudflarestorage.com": "auto",
    f"{ACCOUNT}.eu.r2.cloudflarestorage.com": "auto",
    "s3.us-west-004.backblazeb2.com": "us-west-004",
    "mine.s3.eu-central-003.backblazeb2.com": "eu-central-003",
    "nyc3.digitaloceanspaces.com": "nyc3",
    "mine.fra1.digitaloceanspaces.com": "fra1",
    "s3.wasabisys.com": "us-east-1",
    "s3.eu-central-1.wasabisys.com": "eu-central-1",
    "s3.fr-par.scw.cloud": "fr-par",
    "mine.s3.nl-ams.scw.cloud": "nl-ams",
    "us-sea-1.linodeobjects.com": "us-sea-1",
    "ewr1.vultrobjects.com": "ewr1",
    "fsn1.your-objectstorage.com": "fsn1",
    "s3.gra.io.cloud.ovh.net": "gra",
    "s3.eu-de.cloud-object-storage.appdomain.cloud": "eu-de",
    "storage.googleapis.com": "auto",
    "eu-central-2.storage.example.com": "eu-central-2",
    "S3.EU-WEST-1.amazonaws.com": "eu-west-1",
    "s3.example.com": "us-east-1",
    "minio": "us-east-1",
    "127.0.0.1": "us-east-1",
    "::1": "us-east-1",
}


@pytest.mark.parametrize("host", REGIONS)
def test_the_host_says_the_region(host):
    assert region_of(host) == REGIONS[host]


def config(endpoint_url: str, bucket: str, **more: str) -> Any:
    """As a job's ``s3Config`` brings it."""
    keys = {"accessId": "key-id", "accessSecret": "hush"}
    return read_s3_config({"endpointUrl": endpoint_url, "bucketName": bucket, **keys, **more})


def link(kept: BucketConfig) -> tuple[str, str]:
    """A link's address and the region that it is signed for."""
    place = {"Bucket": kept.name, "Key": "a/b.png"}
    url = urlsplit(signer(kept).generate_presigned_url("get_object", place))
    [credential] = parse_qs(url.query)["X-Amz-Credential"]
    return f"{url.scheme}://{url.netloc}{url.path}", credential.split("/")[2]


@pytest.mark.parametrize(
    ("endpoint_url", "bucket", "address", "region"),
    [
        ("https://s3.eu-west-1.amazonaws.com", "mine", "/mine/a/b.png", "eu-west-1"),
        ("https://mine.s3.eu-west-1.amazonaws.com", "mine", "/a/b.png", "eu-west-1"),
        ("https://mine.s3.amazonaws.com/", "mine", "/a/b.png", "us-east-1"),
        (f"https://{ACCOUNT}.r2.cloudflarestorage.com", "mine", "/mine/a/b.png", "auto"),
        (f"https://mine.{ACCOUNT}.r2.cloudflarestorage.com", "mine", "/a/b.png", "auto"),
        ("https://mine.nyc3.digitaloceanspaces.com", "mine", "/a/b.png", "nyc3"),
        ("https://nyc3.digitaloceanspaces.com", "nyc3", "/nyc3/a/b.png", "nyc3"),
        ("https://mine.s3.fr-par.scw.cloud", "mine", "/a/b.png", "fr-par"),
        ("https://mine.s3.example.com:8443", "mine", "/a/b.png", "us-east-1"),
        ("https://minio.example.com", "minio", "/minio/a/b.png", "us-east-1"),
        ("https://s3.example.com", "s3", "/s3/a/b.png", "us-east-1"),
        ("https://x.example.com/storage/v1/s3", "mine", "/storage/v1/s3/mine/a/b.png", "us-east-1"),
        ("http://127.0.0.1:9000", "mine", "/mine/a/b.png", "us-east-1"),
        ("http://[::1]:9000", "mine", "/mine/a/b.png", "us-east-1"),
    ],
)
def test_a_link_is_where_the_bucket_is(endpoint_url, bucket, address, region):
    host = re.sub(r"(://[^/]+).*", r"\1", endpoint_url)
    assert link(config(endpoint_url, bucket)) == (host + address, region)


def test_a_bucket_behind_the_address_is_not_named_twice():
    """As Cloudflare's dashboard shows it."""
    host = f"https://{ACCOUNT}.r2.cloudflarestorage.com"
    assert link(config(f"{host}/mine", "mine")) == (f"{host}/mine/a/b.png", "auto")
    assert link(config("http://127.0.0.1:9000/mine", "mine"))[0].endswith("/mine/mine/a/b.png")


def test_a_region_that_is_given_is_signed():
    given = config("https://s3.eu-west-1.amazonaws.com", "mine", region="eu-central-1")
    assert link(given)[1] == "eu-central-1"


def test_a_bucket_with_dots_has_no_virtual_host():
    """A certificate's wildcard is one label."""
    given = config("https://my.dots.s3.eu-west-1.amazonaws.com", "my.dots")
    assert link(given)[0] == "https://s3.eu-west-1.amazonaws.com/my.dots/a/b.png"
    assert given.hosts == {"my.dots.s3.eu-west-1.amazonaws.com", "s3.eu-west-1.amazonaws.com"}


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ("https://mine.s3.eu-west-1.amazonaws.com", "https://other.s3.eu-west-1.amazonaws.com"),
        ("https://s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com/other"),
    ],
)
def test_another_bucket_of_a_store_is_at_its_own_address(own, other):
    choice = BucketChoice.model_validate({"bucket": "other"})
    assert link(choice.of(config(own, "mine"))) == (f"{other}/a/b.png", "eu-west-1")


def test_an_endpoints_region_is_that_of_its_store():
    variables = {
        "BUCKET_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com",
        "BUCKET_ACCESS_KEY_ID": "key-id",
        "BUCKET_SECRET_ACCESS_KEY": "hush",
        "BUCKET_NAME": "mine",
    }
    bucket = Settings.from_env(variables).bucket()
    assert bucket is not None
    assert link(bucket)[1] == "eu-west-1"
    named = Settings.from_env({**variables, "BUCKET_REGION": "eu-central-1"}).bucket()
    assert named is not None
    assert link(named)[1] == "eu-central-1"


class Loopback(Guard):
    """Finds every host on this machine."""

    async def lookup(self, host: str, port: int, family: int) -> list[Any]:
        return await super().lookup("127.0.0.1", port, family)


@pytest.fixture
def uploads() -> Iterator[tuple[list[tuple[str, str]], int]]:
    """The hosts and paths of what is put, and the port of who takes it."""
    seen: list[tuple[str, str]] = []

    async def put(request: web.Request) -> web.Response:
        seen.append((request.host, request.path))
        return web.Response()

    application = web.Application()
    application.router.add_put("/{path:.*}", put)
    with serve(application) as url:
        yield seen, urlsplit(url).port or 0


@pytest.mark.anyio
async def test_an_upload_goes_to_a_virtual_host(uploads):
    seen, port = uploads
    given = config(f"http://mine.s3.example.com:{port}", "mine")
    guard = Loopback(given.hosts, timeout_s=5)
    stored = await Bucket(given, guard).store("x.png", b"x", "image/png")
    [(host, path)] = seen
    assert host == f"mine.s3.example.com:{port}"
    assert path.endswith("/x.png")
    assert not path.startswith("/mine")
    assert stored.startswith(f"http://{host}{path}?")


def test_a_host_that_is_a_bucket_of_another_store_stays():
    assert address_of("https://results.example.com", "results").style == "path"

"""Models in a bucket, and behind https: described, fetched, resumed, checked."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from aiohttp import web

from models.errors import QuartetError, RepositoryUnsuited, WeightsUnavailable
from models.repository import address as addresses
from models.repository.describe import describe
from models.repository.machine import Machine
from models.repository.rows import Wanted, listed
from models.weights.places import ObjectStore, Places
from models.weights.sources import parse, shown
from models.weights.store import WeightsStore
from tests.conftest import decoded, error_of
from tests.support import repositories as made
from tests.support import single_files
from tests.support.certificates import certificate, secure
from tests.support.servers import serve

__all__ = ["certificate", "secure"]
MACHINE = Machine("cpu", "float32")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    made.encoder(folder)
    return folder


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    """A store that checks signatures."""
    from moto.server import ThreadedMotoServer

    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    url = "http://{}:{}".format(*running.get_host_and_port())
    first = {
        "endpoint_url": url, "region_name": "us-east-1",
        "aws_access_key_id": "a", "aws_secret_access_key": "b",
    }  # fmt: skip
    iam = boto3.client("iam", **first)
    iam.create_user(UserName="me")
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything]})
    iam.put_user_policy(UserName="me", PolicyName="all", PolicyDocument=policy)
    keys = iam.create_access_key(UserName="me")["AccessKey"]
    httpx.post(f"{url}/moto-api/reset-auth", content="0")
    yield ObjectStore(url, "us-east-1", "path", keys["AccessKeyId"], keys["SecretAccessKey"])
    httpx.post(f"{url}/moto-api/reset-auth", content="inf")
    iam.close()
    running.stop()


@pytest.fixture
def bucket(store) -> Iterator[Any]:
    client = boto3.client(
        "s3", endpoint_url=store.url, region_name=store.region,
        aws_access_key_id=store.key_id, aws_secret_access_key=store.secret,
    )  # fmt: skip
    client.create_bucket(Bucket="models")
    yield client
    for one in client.list_objects_v2(Bucket="models").get("Contents", ()):
        client.delete_object(Bucket="models", Key=one["Key"])
    client.delete_bucket(Bucket="models")
    client.close()


def upload(bucket: Any, folder: Path, prefix: str) -> None:
    for file in folder.rglob("*"):
        if file.is_file():
            key = f"{prefix}/{file.relative_to(folder)}"
            bucket.put_object(Bucket="models", Key=key, Body=file.read_bytes())


def places(tmp_path: Path, **more: Any) -> Places:
    usual = Places((), tmp_path / "baked", None, tmp_path / "cache", endpoint="http://127.0.0.1:9")
    return replace(usual, **more)


# Buckets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["encoder", "of me/a+b & ü~(1)"])
def test_a_folder_of_a_bucket(bucket, store, model, tmp_path, prefix):
    upload(bucket, model, prefix)
    bucket.put_object(Bucket="models", Key=f"{prefix}/", Body=b"")
    bucket.put_object(Bucket="models", Key=f"{prefix}-2/config.json", Body=b"{}")
    here = places(tmp_path, store=store)
    where = f"s3://models/{prefix.replace(' ', '%20')}"
    if " " in prefix:
        with pytest.raises(RepositoryUnsuited, match="has spaces"):
            addresses.parse(f"s3://models/{prefix}")
    found = describe(addresses.parse(where), here, MACHINE)
    row = found.row
    assert row.weights.startswith(f"{where}#version=")
    assert found.sources["weights"] == "a bucket"
    assert row.weights_bytes == (model / "model.safetensors").stat().st_size
    assert not here.cache.exists(), "a description stores nothing"
    folder = WeightsStore(here).resolve(row)
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        assert (folder / name).read_bytes() == (model / name).read_bytes()
    assert not (folder / "README.md").exists(), "the engine does not need it"
    offline = places(tmp_path, store=replace(store, url="http://127.0.0.1:9"))
    again = describe(addresses.parse(where), offline, MACHINE).row
    assert again.weights == row.weights, "the copy says its version, without the store"
    assert WeightsStore(offline).resolve(again) == folder


@pytest.mark.anyio
async def test_a_model_of_a_bucket_answers(bucket, store, model, tmp_path, make_worker):
    upload(bucket, model, "encoder")
    env = {
        "BUCKET_ENDPOINT_URL": store.url, "BUCKET_NAME": "results",
        "BUCKET_ACCESS_KEY_ID": store.key_id, "BUCKET_SECRET_ACCESS_KEY": store.secret,
        "QUARTET_CACHE": str(tmp_path / "cache"), "DTYPE": "float32",
    }  # fmt: skip
    body = {"input": "hi"}
    answers = [
        decoded(
            await make_worker(FAKE_ENGINES="0", MODEL=where, **env).answer(
                {"id": "1", "input": body}
            )
        )
        for where in ("s3://models/encoder", f"file://{model}")
    ]
    vectors = [answer["data"][0]["embedding"] for answer in answers]
    assert vectors[0] == vectors[1]
    assert answers[0]["model"] == "encoder"


def test_a_listing_of_several_pages(bucket, store, tmp_path):
    from models.weights.objects import Objects

    for index in range(8):
        bucket.put_object(Bucket="models", Key=f"many/{index}", Body=b"x" * index)
    there = Objects(store, "s3://models/many", per_page=3).listing()
    assert {name: entry.size_bytes for name, entry in there.items()} == {
        str(index): index for index in range(8)
    }


def test_a_folder_that_changes_after_its_description(bucket, store, model, tmp_path):
    upload(bucket, model, "encoder")
    here = places(tmp_path, store=store)
    row = describe(addresses.parse("s3://models/encoder"), here, MACHINE).row
    bucket.put_object(Bucket="models", Key="encoder/config.json", Body=b"{} ")
    with pytest.raises(WeightsUnavailable, match="has changed since it was described"):
        WeightsStore(here).resolve(row)


def test_an_older_version_can_be_named(bucket, store, model, tmp_path):
    upload(bucket, model, "encoder")
    here = places(tmp_path, store=store)
    where = "s3://models/encoder"
    first = describe(addresses.parse(where), here, MACHINE).row
    WeightsStore(here).resolve(first)
    bucket.put_object(Bucket="models", Key="encoder/new.txt", Body=b"x")
    assert describe(addresses.parse(where), here, MACHINE).row.weights == first.weights
    shutil.rmtree(here.cache)
    second = describe(addresses.parse(where), here, MACHINE).row
    assert second.weights != first.weights


def test_a_single_file_of_a_bucket(bucket, store, tmp_path):
    pipeline = single_files.sdxl(tmp_path / "base")
    file = single_files.save(single_files.checkpoint(pipeline), tmp_path / "x.safetensors")
    bucket.put_object(Bucket="models", Key="a/x.safetensors", Body=file.read_bytes())
    bucket.put_object(Bucket="models", Key="a/x.safetensors.txt", Body=b"")
    here = places(tmp_path, store=store)
    mine = Machine("cpu", "float32", base=f"file://{tmp_path / 'base'}")
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    for mark in ("", f"#sha256={digest}"):
        row = describe(addresses.parse(f"s3://models/a/x.safetensors{mark}"), here, mine).row
        folder = WeightsStore(here).resolve(row)
        assert (folder / "x.safetensors").read_bytes() == file.read_bytes()
        assert f"file=x.safetensors&{'sha256' if mark else 'version'}=" in row.weights
        again = describe(addresses.parse(f"s3://models/a/x.safetensors{mark}"), here, mine).row
        assert again.weights == row.weights
    wrong = describe(
        addresses.parse(f"s3://models/a/x.safetensors#sha256={'0' * 64}"), here, mine
    ).row
    with pytest.raises(WeightsUnavailable, match=f"has SHA-256 {digest}, not the 0000"):
        WeightsStore(here).resolve(wrong)


@pytest.mark.parametrize(
    ("where", "change", "says"),
    [
        ("s3://models/nothing", {}, "s3://models/nothing holds no files; see the spelling"),
        ("s3://missing-bucket/x", {}, "has no such file .status 404.*BUCKET_ENDPOINT_URL"),
        ("s3://models/x", {"secret": "wrong"}, "forbids it .status 403.*the keys"),
        ("s3://models/x", {"url": "http://127.0.0.1:9"}, "The host cannot be reached"),
        ("s3://models/bad", {}, "'../../x', which leads out of its folder"),
    ],
)
def test_what_a_bucket_refuses(bucket, store, tmp_path, where, change, says):
    bucket.put_object(Bucket="models", Key="bad/../../x", Body=b"x")
    here = places(tmp_path, store=replace(store, **change))
    with pytest.raises(QuartetError, match=says) as caught:
        describe(addresses.parse(where), here, MACHINE)
    assert store.secret not in caught.value.message
    assert "\n" not in caught.value.message


def test_a_bucket_without_a_store(tmp_path):
    with pytest.raises(WeightsUnavailable, match="s3://models/x needs BUCKET_ENDPOINT_URL"):
        describe(addresses.parse("s3://models/x"), places(tmp_path), MACHINE)
    assert "hush" not in repr(ObjectStore("u", "r", "path", "id", "hush"))


# The web -----------------------------------------------------------------------------------------


class Site:
    """A web server of files; each request is noted as its path and range."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[tuple[str, str]] = []
        self.headers: dict[str, str] = {}
        self.breaks = 0  # answers that end after half of their bytes
        self.busy = 0  # answers of status 503
        self.dies = False  # after an answer that ends early
        self.moved: dict[str, str] = {}
        self.any_name = False
        self.shift = 0  # of the part that is sent, in bytes
        self.ranges = True

    async def file(self, request: web.Request) -> web.StreamResponse:
        name, part = request.match_info["name"], request.headers.get("Range", "")
        self.asked.append((name, part))
        if self.busy:
            self.busy -= 1
            return web.Response(status=503)
        if name in self.moved:
            return web.Response(status=302, headers={"Location": self.moved[name]})
        path = self.root / name
        if not path.is_file():
            return web.Response(status=200 if self.any_name else 404, text="<html>")
        content, status, headers = path.read_bytes(), 200, dict(self.headers)
        if part and self.ranges:
            start, _, end = part.removeprefix("bytes=").partition("-")
            last = min(int(end) if end else len(content), len(content) - 1)
            first = int(start) + self.shift
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[int(start) : last + 1], 206
        if self.breaks and len(content) > 10_000:
            self.breaks -= 1
            self.busy = 99 if self.dies else self.busy
            answer = web.StreamResponse(status=status, headers=headers)
            answer.content_length = len(content)
            await answer.prepare(request)
            await answer.write(content[: len(content) // 2])
            request.transport.abort()  # type: ignore[union-attr]
            return answer
        return web.Response(body=content, status=status, headers=headers)


@pytest.fixture
def site(tmp_path, secure) -> Iterator[tuple[Site, str]]:
    root = tmp_path / "site"
    root.mkdir()
    running = Site(root)
    application = web.Application()
    application.router.add_get("/{name:.*}", running.file)
    with serve(application, secure) as url:
        yield running, url


def test_a_folder_of_a_web_server(site, model, tmp_path):
    running, url = site
    shutil.copytree(model, running.root / "m")
    here = places(tmp_path)
    found = describe(addresses.parse(f"{url}/m/"), here, MACHINE)
    assert found.row.weights_bytes == (model / "model.safetensors").stat().st_size
    assert found.sources["weights"] == "a web server"
    assert all(part for name, part in running.asked if name == "m/model.safetensors")
    folder = WeightsStore(here).resolve(found.row)
    expected = {one.relative_to(model) for one in model.rglob("*") if one.is_file()}
    got = {one.relative_to(folder) for one in folder.rglob("*") if one.is_file()}
    assert got - {Path("origin.txt")} == expected - {Path("README.md")}


def test_parts_and_shards_of_a_web_server(site, tmp_path):
    from models.weights.weblinks import WebFolder

    running, url = site
    root = running.root
    single_files.sdxl(root)
    made.write(
        root,
        "unet/diffusion_pytorch_model.safetensors.index.json",
        {"weight_map": {"a": "s-1.safetensors"}},
    )
    made.write(root, "unet/s-1.safetensors", "x")
    there = WebFolder(url).listing()
    assert set(there) == {str(one.relative_to(root)) for one in root.rglob("*") if one.is_file()}


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda site: None, "holds no files"),
        (lambda site: setattr(site, "any_name", True), "answers for any name"),
        (
            lambda site: made.write(
                site.root, "model.safetensors.index.json", {"weight_map": {"a": "../../etc/x"}}
            ),
            "'../../etc/x', which leads out of its folder",
        ),
        (lambda site: made.write(site.root, "modules.json", [{"path": "/etc"}]), "leads out"),
        (lambda site: made.write(site.root, "model_index.json", {"..": ["a", "b"]}), "leads out"),
        (lambda site: made.write(site.root, "modules.json", "{no"), "modules.json is no JSON"),
    ],
    ids=["empty", "any name", "shards", "modules", "parts", "no json"],
)
def test_folders_that_are_refused(site, tmp_path, prepare, says):
    running, url = site
    prepare(running)
    with pytest.raises(QuartetError, match=says):
        describe(addresses.parse(url), places(tmp_path), MACHINE)


def test_a_whisper_of_a_web_server_is_converted(site, tmp_path):
    from models.tiny import whisper

    running, url = site
    (running.root / "w").mkdir()
    whisper.save(running.root / "w")
    here = places(tmp_path)
    row = describe(addresses.parse(f"{url}/w"), here, MACHINE).row
    assert row.weights.endswith("&convert=whisper-ct2")
    folder = WeightsStore(here).resolve(row)
    assert (folder / "model.bin").is_file()
    assert not (folder / "downloaded").exists()
    again = describe(addresses.parse(f"{url}/w"), here, MACHINE).row
    assert again.weights == row.weights


def test_a_bucket_in_the_hosts_name(store):
    from models.weights.objects import Objects

    virtual = Objects(
        replace(store, url="https://s3.eu-west-1.amazonaws.com", style="virtual"), "s3://b-1/x"
    )
    assert virtual.root == "https://b-1.s3.eu-west-1.amazonaws.com"


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a single file, ``x.safetensors``, and the pipeline ``base``."""
    root = tmp_path_factory.mktemp("painter")
    pipeline = single_files.sdxl(root / "base")
    single_files.save(single_files.checkpoint(pipeline), root / "x.safetensors")
    return root


def single(url: str, painter: Path, here: Places) -> Any:
    mine = Machine("cpu", "float32", base=f"file://{painter / 'base'}")
    return describe(addresses.parse(url), here, mine).row


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_breaks_off_is_resumed(site, painter, tmp_path, ranges):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root)
    here = places(tmp_path)
    row = single(f"{url}/x.safetensors", painter, here)
    size = (painter / "x.safetensors").stat().st_size
    read = [part for _, part in running.asked]
    assert read[0] == "bytes=0-0"
    assert all(int(part.partition("-")[2]) < size // 2 for part in read), "the header alone"
    running.breaks, running.busy, running.ranges = 2, 1, ranges
    del running.asked[:]
    folder = WeightsStore(here).resolve(row)
    assert (folder / "x.safetensors").read_bytes() == (painter / "x.safetensors").read_bytes()
    starts = [int(part.removeprefix("bytes=").partition("-")[0]) for _, part in running.asked]
    assert max(starts) > (size // 3 if ranges else 0)


def test_an_interrupted_download_is_resumed_by_the_next_worker(site, painter, tmp_path):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root)
    here = places(tmp_path)
    row = single(f"{url}/x.safetensors", painter, here)
    running.breaks, running.dies = 1, True
    with pytest.raises(WeightsUnavailable, match="cannot be reached .*status 503"):
        WeightsStore(here).resolve(row)
    size = (painter / "x.safetensors").stat().st_size
    [partial] = here.cache.glob(".*.partial/*.part")
    begun = partial.stat().st_size
    assert 0 < begun < size
    running.dies, running.busy = False, 0
    del running.asked[:]
    folder = WeightsStore(here).resolve(row)
    assert (folder / "x.safetensors").read_bytes() == (painter / "x.safetensors").read_bytes()
    assert running.asked[-1] == ("x.safetensors", f"bytes={begun}-{size - 1}")
    assert not list(here.cache.glob(".*.partial"))


def test_addresses_with_secrets_do_not_show_them(site, painter, tmp_path):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root / "download")
    here = places(tmp_path)
    where = f"{url}/download?token=hush&x=1#file=My%20Model.safetensors"
    row = single(where, painter, here)
    assert row.slug == "My-Model"
    assert "hush" not in " ".join(row.names)
    assert "hush" not in shown(row.weights)
    mine = Machine("cpu", "float32", base=f"file://{painter / 'base'}")
    description = describe(addresses.parse(where), here, mine)
    assert "hush" not in "\n".join([*description.summary, *description.lines()])
    folder = WeightsStore(here).resolve(row)
    assert "hush" not in (folder / "origin.txt").read_text()
    again = single(where, painter, places(tmp_path))
    assert WeightsStore(here).locate(again) == folder


def test_redirects(site, painter, tmp_path):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root)
    here = places(tmp_path)
    running.moved["y.safetensors"] = "/x.safetensors"
    assert single(f"{url}/y.safetensors", painter, here).slug == "y"
    port = url.rpartition(":")[2]
    for target, says in (
        (f"https://localhost:{port}/x.safetensors", "redirects to an address that is not public"),
        (f"http://127.0.0.1:{port}/x.safetensors", "redirects to another protocol"),
        ("/y.safetensors", "redirects more than 5 times"),
    ):
        running.moved["y.safetensors"] = target
        with pytest.raises(WeightsUnavailable, match=says):
            single(f"{url}/y.safetensors", painter, here)


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Content-Encoding": "gzip"}, "sends the file compressed"),
        ({"Content-Encoding": "identity"}, None),
    ],
)
def test_compressed_files_are_refused(site, painter, tmp_path, headers, says):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root)
    running.headers = headers
    if says is None:
        assert single(f"{url}/x.safetensors", painter, places(tmp_path)).slug == "x"
    else:
        with pytest.raises(WeightsUnavailable, match=says):
            single(f"{url}/x.safetensors", painter, places(tmp_path))


def test_a_file_that_is_not_there_or_no_checkpoint(site, painter, tmp_path):
    running, url = site
    (running.root / "z.safetensors").write_bytes(b"<html>" * 100)
    for name, says in (("a", "has no such file .status 404"), ("z", "not a complete safetensors")):
        with pytest.raises(QuartetError, match=says):
            single(f"{url}/{name}.safetensors", painter, places(tmp_path))


def test_nothing_is_downloaded_that_does_not_fit_the_disk(site, painter, tmp_path, monkeypatch):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root)
    here = places(tmp_path)
    row = single(f"{url}/x.safetensors", painter, here)
    usage = shutil._ntuple_diskusage(10**6, 10**6, 10)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    del running.asked[:]
    with pytest.raises(WeightsUnavailable, match="the disk has 0.0 GB free"):
        WeightsStore(here).resolve(row)
    assert running.asked == []


@pytest.mark.anyio
async def test_nothing_is_downloaded_that_does_not_fit_the_memory(
    site, painter, tmp_path, make_worker
):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root)
    worker = make_worker(
        FAKE_ENGINES="0", MODEL=f"{url}/x.safetensors", MODEL_BASE=f"file://{painter / 'base'}",
        QUARTET_CACHE=str(tmp_path / "cache"), MEMORY_BUDGET_GB="0.01",
    )  # fmt: skip
    del running.asked[:]
    refused = error_of(await worker.answer({"id": "1", "input": {"prompt": "a"}}))
    assert refused["code"] == "model_does_not_fit"
    assert running.asked == []


def test_a_host_that_sends_another_part(site, painter, tmp_path):
    running, url = site
    shutil.copy(painter / "x.safetensors", running.root)
    running.shift = 1
    with pytest.raises(WeightsUnavailable, match="sends another part of the file"):
        single(f"{url}/x.safetensors", painter, places(tmp_path))


def test_a_host_that_is_not_trusted(site, painter, tmp_path, monkeypatch):
    _, url = site
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(WeightsUnavailable, match="self.signed certificate"):
        single(f"{url}/x.safetensors", painter, places(tmp_path))


# Addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("http://host/x.safetensors", "over https only"),
        ("s3://b/x", "a bucket's address is s3://bucket/folder"),
        ("s3://bucket/../x", "has no .. and no . in it"),
        ("https://host/a/../x.safetensors", "has no .. and no . in it"),
        ("https://host/x.safetensors#sha256=1", "must have 64 hexadecimal digits"),
        ("https://host/x.safetensors#version=../../../etc", "must have 16 hexadecimal digits"),
        ("https://host/folder#version=0123456789abcdef&convert=x", "#convert is not yours to set"),
        ("https://host/x.safetensors#sha=1", "#sha is none of"),
        ("https://host/x#file=x.ckpt", "a single file must be a .safetensors; got 'x.ckpt'"),
        ("https://host/x#file=../x.safetensors", "a single file must be a .safetensors"),
        ("https://host/folder?token=hush", "the address of a folder has no query"),
        (f"https://host/folder#sha256={'0' * 64}", "no #sha256"),
        ("https://host/x.safetensors + hf://a/b@main", "has spaces, or no host"),
        ("https:///x", "has spaces, or no host"),
        ("ftp://host/x.safetensors", "is no address of a model"),
    ],
)
def test_what_is_no_address(given, says):
    with pytest.raises(RepositoryUnsuited, match=says) as caught:
        addresses.parse(given)
    assert "hush" not in caught.value.message


def test_forms_of_an_address():
    plain = addresses.parse("s3://models/team/Chat-1/")
    assert (plain.name, plain.file) == ("Chat-1", None)
    file = addresses.parse("hf://me/x@v1#a/dream.safetensors")
    assert (file.repo, file.revision, file.file, file.name) == (
        "me/x",
        "v1",
        "a/dream.safetensors",
        "dream",
    )
    assert addresses.parse("https://host/a%20b.safetensors").name == "a-b"
    assert listed_addresses(
        "x=https://h/a?b=c#file=d.safetensors, https://h/e.safetensors#version=0123456789abcdef"
    ) == [
        Wanted("https://h/a?b=c#file=d.safetensors", "x", variable="V"),
        Wanted("https://h/e.safetensors#version=0123456789abcdef", variable="V"),
    ]
    key = parse("https://h/a?b=c#file=d.safetensors&version=0123456789abcdef").key
    assert key == parse("https://h/a#file=d.safetensors&version=0123456789abcdef").key, (
        "a secret is no part of it"
    )


def listed_addresses(text: str) -> list[Wanted]:
    return list(listed(text, "V"))

"""The one door for clients' files."""

from __future__ import annotations

import asyncio
import base64
import gzip
import socket
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from handler.errors import (
    MediaError,
    MediaForbidden,
    MediaInvalid,
    MediaRefused,
    MediaTimeout,
    MediaTooLarge,
    MediaUnreachable,
    error_object,
)
from handler.media.files import MediaDoor
from handler.media.guard import Guard, is_public
from tests.support.servers import serve

pytestmark = pytest.mark.anyio

LOOPBACK = frozenset({"127.0.0.1"})
BODY = bytes(range(256)) * 5000  # 1.28 MB


def door(hosts: frozenset[str] = frozenset(), timeout_s: float = 5.0) -> MediaDoor:
    return MediaDoor(Guard(hosts, timeout_s))


async def fetch(reference: str, hosts: frozenset[str] = LOOPBACK, **options: Any) -> bytes:
    limit = options.pop("limit", 10_000_000)
    async with door(hosts, **options) as one:
        return (await one.fetch(reference, "audioUrl", limit)).read_bytes()


async def packed(request: web.Request) -> web.Response:
    """As stores send what they keep compressed, whatever they are asked for."""
    assert request.headers["Accept-Encoding"] == "identity"
    kind = request.query["kind"]
    pack = {"gzip": gzip.compress, "deflate": zlib.compress, "x-gzip": gzip.compress}
    size = int(request.query.get("size", len(BODY)))
    content = pack.get(kind, bytes)(BODY[:size] if size <= len(BODY) else bytes(size))
    if "broken" in request.query:
        content = content[:20] + bytes(40)
    return web.Response(body=content, headers={"Content-Encoding": kind})


@pytest.fixture(scope="module")
def site():
    async def file(request: web.Request) -> web.Response:
        return web.Response(body=BODY)

    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(50):
            await response.write(b"x" * 100_000)
        return response

    async def slow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(100):
            await response.write(b"x")
            await asyncio.sleep(0.1)
        return response

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"only this")
        request.transport.close()
        return response

    async def redirect(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": request.query["to"]})

    async def missing(request: web.Request) -> web.Response:
        return web.Response(status=404, body=b"<html>an internal page</html>")

    application = web.Application()
    for handler in (file, chunked, slow, cut, redirect, packed, missing):
        application.router.add_get(f"/{handler.__name__}", handler)
    with serve(application) as url:
        yield url


async def test_a_url_comes_whole(site):
    assert await fetch(f"{site}/file") == BODY
    assert await fetch(f"{site}/redirect?to=/file") == BODY


@pytest.mark.parametrize("kind", ["gzip", "x-gzip", "deflate", "identity"])
async def test_what_comes_compressed_is_undone(site, kind):
    assert await fetch(f"{site}/packed?kind={kind}") == BODY


async def test_what_comes_compressed_is_undone_no_further_than_the_limit(site):
    with pytest.raises(MediaTooLarge):
        await fetch(f"{site}/packed?kind=gzip&size=50000000", limit=1_000_000)


@pytest.mark.parametrize(
    ("query", "error", "words"),
    [
        ("kind=br", MediaRefused, "compressed (br)"),
        ("kind=gzip&broken", MediaInvalid, "not compressed as its host says"),
    ],
)
async def test_what_cannot_be_undone_is_named(site, query, error, words):
    with pytest.raises(error) as caught:
        await fetch(f"{site}/packed?{query}")
    assert words in caught.value.message
    assert caught.value.param == "audioUrl"


@pytest.mark.parametrize(
    "reference",
    [
        base64.b64encode(b"hello").decode(),
        "data:audio/wav;base64," + base64.b64encode(b"hello").decode(),
        "data:;base64," + base64.b64encode(b"hello").decode(),
        "data:audio/wav;codecs=1;BASE64," + base64.b64encode(b"hello").decode(),
        "data:text/plain,hel%6Co",
        "aGVs\nbG8=\n",
        "aGVsbG8",
        "data:audio/wav; base64,aGVsbG8%3D",
        "data:audio/wav;base64 ,aGVsbG8=",
    ],
)
async def test_inline_data(reference):
    assert await fetch(reference) == b"hello"


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_survive_base64(content):
    text = base64.b64encode(content).decode()
    assert asyncio.run(fetch(text)) == content
    assert asyncio.run(fetch(f"data:x/y;base64,{text}")) == content


@pytest.mark.parametrize(
    ("path", "error", "options"),
    [
        ("/missing", MediaRefused, {}),
        ("/file", MediaTooLarge, {"limit": 1000}),
        ("/chunked", MediaTooLarge, {"limit": 1_000_000}),
        ("/slow", MediaTimeout, {"timeout_s": 0.5}),
        ("/cut", MediaUnreachable, {}),
        ("/redirect?to=/redirect?to=/redirect", MediaError, {}),
        ("/redirect?to=file:///etc/passwd", MediaInvalid, {}),
        ("/redirect?to=http://127.0.0.2:1/x", MediaForbidden, {}),
        ("/redirect?to=http://[::1]:1/x", MediaForbidden, {}),
        ("/redirect?to=http://localhost:1/x", MediaForbidden, {}),
    ],
)
async def test_each_failure_has_its_own_error(site, path, error, options):
    with pytest.raises(error) as caught:
        await fetch(site + path, **options)
    assert caught.value.param == "audioUrl"
    assert "127.0.0" not in caught.value.message
    assert "localhost" not in caught.value.message


async def test_a_dead_port_and_a_dead_name():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        with pytest.raises(MediaUnreachable):
            await fetch(f"http://127.0.0.1:{held.getsockname()[1]}/")
    with pytest.raises(MediaUnreachable):
        await fetch("http://no-such-host.invalid/")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.0.0.1", "0", "localhost.",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "user:pw@127.0.0.1", "①②⑦.0.0.1",
    ],
)  # fmt: skip
async def test_no_spelling_of_loopback_gets_through(site, host):
    """A server listens there, so a fetch that got through would succeed."""
    port = site.rpartition(":")[2]
    with pytest.raises((MediaForbidden, MediaUnreachable)):
        await fetch(f"http://{host}:{port}/file", hosts=frozenset())


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1",
        "[::1]", "[fd00::1]", "[fe80::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "0.0.0.0",
        "[64:ff9b:1::1]", "[::10.0.0.1]", "[::ffff:0:10.0.0.1]", "[fec0::1]", "[5f00::1]",
    ],
)  # fmt: skip
async def test_private_addresses_are_refused(host):
    with pytest.raises(MediaForbidden):
        await fetch(f"http://{host}/", hosts=frozenset())


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "93.184.216.34"])
def test_public_addresses(address):
    assert is_public(address)


class Rebinding(Guard):
    """A name server that changes its mind with every answer."""

    def __init__(self, *addresses: str) -> None:
        super().__init__(frozenset(), timeout_s=5)
        self.addresses = list(addresses)
        self.asked = 0

    async def lookup(self, host: str, port: int, family: int) -> list[Any]:
        address = self.addresses[min(self.asked, len(self.addresses) - 1)]
        self.asked += 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


async def test_a_name_is_resolved_once_and_what_was_checked_is_used(site):
    """DNS rebinding lives on a second look at the name. There is none."""
    port = site.rpartition(":")[2]
    guard = Rebinding("127.0.0.1", "93.184.216.34")
    async with MediaDoor(guard) as one:
        with pytest.raises(MediaForbidden):
            await one.fetch(f"http://rebind.example:{port}/file", "audioUrl", 1000)
    assert guard.asked == 1


async def test_one_private_address_among_several_is_enough_to_refuse(site):
    class Mixed(Rebinding):
        async def lookup(self, host: str, port: int, family: int) -> list[Any]:
            first = await super().lookup(host, port, family)
            return first + await super().lookup(host, port, family)

    async with MediaDoor(Mixed("93.184.216.34", "127.0.0.1")) as one:
        with pytest.raises(MediaForbidden):
            await one.fetch("http://mixed.example/file", "audioUrl", 1000)


async def test_names_that_resolve_late_hold_up_nobody_else(monkeypatch):
    """Of the event loop's own threads there are as few as six."""
    answer, real = threading.Event(), socket.getaddrinfo

    def late(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "late.example":
            answer.wait(20)
        return real("127.0.0.1", *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", late)
    guard = Guard(frozenset({"late.example"}), timeout_s=5)

    async def fetch_late() -> None:
        async with MediaDoor(guard) as one:
            await one.fetch("http://late.example:9/", "audioUrl", 1000)

    fetches = [asyncio.ensure_future(fetch_late()) for _ in range(16)]
    await asyncio.sleep(0.2)
    start = time.monotonic()
    await asyncio.to_thread(time.monotonic)
    took_s = time.monotonic() - start
    answer.set()
    failures = await asyncio.gather(*fetches, return_exceptions=True)
    assert took_s < 1
    assert {type(failure) for failure in failures} == {MediaUnreachable}


async def test_files_are_removed_whatever_happens(site):
    folders: list[Path] = []

    async def use(fail: bool) -> None:
        async with door(LOOPBACK) as one:
            path = await one.fetch(f"{site}/file", "image", 10_000_000)
            folders.append(path.parent)
            assert path.exists()
            if fail:
                raise RuntimeError
            await asyncio.sleep(10)

    with pytest.raises(RuntimeError):
        await use(fail=True)
    task = asyncio.create_task(use(fail=False))
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(folders) == 2
    assert not any(folder.exists() for folder in folders)


async def test_a_disk_that_is_full_is_not_the_hosts_failure(site):
    async with door(LOOPBACK) as one:
        first = await one.fetch(f"{site}/file", "audioUrl", 10_000_000)
        (first.parent / "2.bin").symlink_to("/dev/full")  # the place of the next file
        with pytest.raises(OSError, match="No space left") as failure:
            await one.fetch(f"{site}/file", "audioUrl", 10_000_000)
    assert error_object(failure.value)["code"] == "disk_full"


async def test_proxies_of_the_environment_are_not_used(site, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert await fetch(f"{site}/file") == BODY

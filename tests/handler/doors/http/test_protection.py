"""What a connection may cost, and which web pages may ask."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from handler.doors.http.protection import BodyLimits, OwnPages, PatientProtocol
from handler.doors.http.routes import Door
from handler.doors.watch import ThreadWatch
from tests.support.bodies import CHAT
from tests.support.running import serve_worker, wait_until


class Quick(PatientProtocol):
    unasked_s = 0.5
    unasked_bytes = 100_000


@contextmanager
def listening(application: Any, protocol: Any = PatientProtocol) -> Iterator[tuple[str, int]]:
    config = uvicorn.Config(
        application, host="127.0.0.1", port=0, http=protocol, log_config=None, timeout_keep_alive=60
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()
    finally:
        server.should_exit = True
        thread.join(10)


async def early(_: Request) -> Response:
    return PlainTextResponse("no", 413)


async def echo(http: Request) -> Response:
    return PlainTextResponse(str(len(await http.body())))


ROUTES = Starlette(
    routes=[Route("/early", early, methods=["POST"]), Route("/echo", echo, methods=["POST"])]
)


def closed(peer: socket.socket, timeout_s: float) -> float:
    """Seconds until the other side closes."""
    start = time.monotonic()
    peer.settimeout(timeout_s)
    try:
        while peer.recv(65536):
            pass
    except ConnectionError:
        pass
    return time.monotonic() - start


def read(peer: socket.socket, end: bytes) -> bytes:
    peer.settimeout(10)
    answer = b""
    while not answer.endswith(end):
        more = peer.recv(65536)
        assert more, answer
        answer += more
    return answer


def test_headers_that_never_end_are_not_waited_for():
    with listening(ROUTES, Quick) as address, socket.create_connection(address) as peer:
        peer.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\n")
        assert 0.3 < closed(peer, 5) < 3


def test_headers_that_come_a_byte_at_a_time_get_no_more_time():
    with listening(ROUTES, Quick) as address, socket.create_connection(address) as peer:
        start, sent = time.monotonic(), 0
        with pytest.raises(ConnectionError):
            for letter in b"POST /echo HTTP/1.1\r\nX: " + b"x" * 1000:
                peer.sendall(bytes([letter]))
                sent += 1
                time.sleep(0.05)
        assert time.monotonic() - start < 3
        assert sent < 60


def test_an_endless_body_is_not_swallowed_after_its_answer():
    head = b"POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
    with listening(ROUTES, Quick) as address, socket.create_connection(address) as peer:
        peer.sendall(head + chunk)
        assert b"413" in peer.recv(4096)
        sent = 0
        with pytest.raises(ConnectionError):
            while sent < 50_000_000:
                peer.sendall(chunk)
                sent += len(chunk)
        assert sent < 20_000_000  # what the buffers of two sockets hold


def test_a_body_that_ends_after_its_answer_leaves_the_connection_usable():
    with listening(ROUTES, Quick) as address, socket.create_connection(address) as peer:
        peer.sendall(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n" + b"x" * 9)
        assert read(peer, b"no").startswith(b"HTTP/1.1 413")
        peer.sendall(b"x" * 49_991)
        peer.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        read(peer, b"\r\n\r\n3")
        time.sleep(1)  # idle is no reason to close
        peer.sendall(b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab")
        read(peer, b"\r\n\r\n2")


# Bodies ------------------------------------------------------------------------------------------


def asked(peer: socket.socket, head: bytes) -> tuple[int, dict[str, Any]]:
    """The status and the error of an answer."""
    peer.sendall(head)
    peer.settimeout(10)
    answer = b""
    while b"}" not in answer.partition(b"\r\n\r\n")[2]:
        answer += peer.recv(65536)
    status, _, body = answer.partition(b"\r\n\r\n")
    return int(status.split()[1]), json.loads(body)["error"]


@pytest.mark.parametrize("whole_s", [0.4, 300])
def test_a_body_that_stalls_is_answered(worker, whole_s):
    door = Door(worker, BodyLimits(10_000, pause_s=0.4, whole_s=whole_s), preload=False)
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
    with listening(door.application()) as address, socket.create_connection(address) as peer:
        start = time.monotonic()
        status, error = asked(peer, head)
        assert (status, error["code"]) == (408, "request_timeout")
        assert 0.3 < time.monotonic() - start < 3


def test_a_client_that_leaves_while_it_sends_is_no_error(worker, caplog):
    door = Door(worker, BodyLimits(10_000), preload=False)
    head = b"POST /v1/embeddings HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"
    with listening(door.application()) as address:
        for _ in range(3):
            with socket.create_connection(address) as peer:
                peer.sendall(head)
                time.sleep(0.1)
        time.sleep(0.3)
        answer = httpx.post(f"http://127.0.0.1:{address[1]}/v1/embeddings", json={"input": "a"})
        assert answer.status_code == 200
    assert not [one for one in caplog.records if one.exc_info or one.levelname == "ERROR"]


def test_json_of_very_many_objects_is_not_parsed(worker):
    door = Door(worker, BodyLimits(10_000_000), preload=False)
    with listening(door.application()) as address:
        url = f"http://127.0.0.1:{address[1]}/v1/embeddings"
        body = b'{"input": [' + b"{}," * 1_500_000 + b"{}]}"
        answer = httpx.post(url, content=body, timeout=10)
        assert answer.status_code == 413
        assert answer.json()["error"]["code"] == "request_too_large"
        large = json.dumps({"input": ["[text] {with} [some] brackets " * 300] * 50})
        assert httpx.post(url, content=large, timeout=10).status_code == 200


# Web pages ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://127.0.0.1.evil.example", 403),
        ("http://localhost.evil.example:8000", 403),
        ("http://[::1", 403),
        ("file://", 403),
        ("http://127.0.0.1:3000", 200),
        ("http://localhost", 200),
        ("http://[::1]:8000", 200),
        (None, 200),
    ],
)
@pytest.mark.anyio
async def test_only_pages_of_this_machine_may_ask(origin, status):
    application = OwnPages(ROUTES)
    headers = {} if origin is None else {"Origin": origin}
    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        answer = await client.post("/echo", content=b"abc", headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json()["error"]["code"] == "origin_forbidden"


def test_a_worker_on_this_machine_answers_no_page_of_another_site():
    """As any page may send it: a body of plain text, with no question asked before."""
    headers = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    with serve_worker() as url:
        answer = httpx.post(f"{url}/v1/chat/completions", content=json.dumps(CHAT), headers=headers)
        assert answer.status_code == 403
        own = {"Origin": url}
        assert httpx.post(f"{url}/v1/chat/completions", json=CHAT, headers=own).status_code == 200


# Threads -----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_worker_whose_threads_are_all_held_says_that_it_is_broken(worker):
    door = Door(worker, BodyLimits(10_000), preload=False)
    door.threads = ThreadWatch(stuck_after_s=0.2)
    release = threading.Event()
    transport = httpx.ASGITransport(door.application())
    async with httpx.AsyncClient(transport=transport, base_url="http://door") as client:
        async with door.warming():
            assert (await client.get("/ping")).status_code == 200
            held = [asyncio.create_task(asyncio.to_thread(release.wait, 30)) for _ in range(64)]
            for _ in range(100):
                await asyncio.sleep(0.05)
                if (await client.get("/ping")).status_code == 503:
                    break
            assert (await client.get("/ping")).status_code == 503
            release.set()
            await asyncio.gather(*held)
            await asyncio.sleep(0.2)
            assert (await client.get("/ping")).status_code == 200

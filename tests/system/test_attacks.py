"""Attacks on a worker and on the local platform, each of which must come to nothing.

Further ones are beside what they attack; SECURITY.md names them all.
"""

from __future__ import annotations

import ast
import asyncio
import json
import re
import socket
import ssl
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from aiohttp import web

from handler.check import check
from handler.media.files import MediaDoor
from handler.media.guard import Guard
from models.errors import QuartetError
from tests.conftest import ROOT, error_of
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.buckets import Store, store, variables  # noqa: F401 - a fixture
from tests.support.running import run_local, serve_worker, wait_until
from tests.support.servers import serve
from tests.support.serving import in_process

pytestmark = pytest.mark.anyio

IMAGE = {"prompt": "A fox", "size": "64x64", "seed": 1}
SECRET = "a-secret-of-the-client"
NOBODY = frozenset[str]()


# Requests that lead elsewhere ----------------------------------------------------------------------


@pytest.mark.parametrize("url", [
    "http://0177.0.0.1:PORT/", "http://017700000001:PORT/", "http://0x7f000001:PORT/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:PORT/", "http://127.0.0.1.:PORT/", "http://127。0。0。1:PORT/",
    "http://localhost%00.example.org:PORT/", "http://example.org@127.0.0.1:PORT/",
    "http://127.0.0.1:PORT#@example.org/", "http://127.0.0.1:PORT\\@example.org/",
    "gopher://127.0.0.1:PORT/_GET", "dict://127.0.0.1:PORT/", "file:///etc/passwd",
    "FILE:///etc/passwd", "ftp://127.0.0.1:PORT/", "http://xn--a\x80:PORT/", "jar:http://127.0.0.1:PORT!/", "//127.0.0.1:PORT/",
    "http://[::ffff:7f00:1]:PORT/", "http://[::127.0.0.1]:PORT/", "http://127.1:PORT/", "http://0:PORT/",
    "http://a@b@127.0.0.1:PORT/", "http://[]@127.0.0.1:PORT/", "http://[]@/", "http://127.0.0.1.:PORT./",
    "http://127\uff0e0\uff0e0\uff0e1:PORT/", "http://127\uff610\uff610\uff611:PORT/", "http://[::1%25lo]:PORT/",
    "http://\u2160.0.0.1:PORT/", "http:127.0.0.1:PORT/", "http:///127.0.0.1:PORT/", "http://127.0.0.1:PORT\t/",
])  # fmt: skip
@pytest.mark.parametrize("redirected", [False, True])
def test_no_spelling_leads_inside(url, redirected):
    asked = []

    async def fetch(first: str, hosts: frozenset[str]) -> None:
        async with MediaDoor(Guard(hosts, timeout_s=3)) as door:
            with pytest.raises(QuartetError):
                await door.fetch(first, "audioUrl", 1000)

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=b"inside")

    async def lead(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": url.replace("PORT", port)})

    inside, outside = web.Application(), web.Application()
    inside.router.add_get("/{path:.*}", answer)
    outside.router.add_get("/{path:.*}", lead)
    with serve(inside) as there, serve(outside) as here:
        port = there.rpartition(":")[2]
        # The first host stands for a public one: by its name, which no redirect leads to.
        first = here.replace("127.0.0.1", "localhost") if redirected else url.replace("PORT", port)
        hosts = frozenset({"localhost"}) if redirected else NOBODY
        asyncio.run(fetch(first, hosts))
    assert asked == []


def test_a_bucket_cannot_lead_inside(make_worker):
    """The store of a job answers with a redirect, which keeps the method and the body."""
    asked = []

    async def inside(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response()

    async def lead(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(f"{there}/taken")

    first, second = web.Application(), web.Application()
    first.router.add_put("/{path:.*}", inside)
    second.router.add_put("/{path:.*}", lead)
    with serve(first) as there, serve(second) as here:
        url = here.replace("127.0.0.1", "localhost")
        config = {"accessId": "k", "accessSecret": "s", "bucketName": "mine", "endpointUrl": url}
        worker = make_worker(MEDIA_PRIVATE_HOSTS="localhost")
        answer = asyncio.run(worker.answer({"id": "j", "input": IMAGE, "s3Config": config}))
    assert error_of(answer)["code"] == "storage_failed"
    assert asked == []


# Names that are paths or headers -------------------------------------------------------------------


@pytest.mark.parametrize("job_id", [
    "../../other/x", "..%2f..%2fother", "/etc/passwd", "a\r\nX-Evil: 1", "\\..\\..\\x", "x" * 5000,
])  # fmt: skip
async def test_a_jobs_id_cannot_leave_its_place_in_the_bucket(make_worker, store, job_id):
    kept, url = store
    answer = await make_worker(**variables(url)).answer({"id": job_id, "input": IMAGE})
    [path] = kept.objects
    assert re.fullmatch(r"/results/[0-9a-f]{32}/[\w.-]{1,128}/1\.png", path)
    assert ".." not in path
    assert json.loads(answer.content)["data"][0]["url"].startswith(f"{url}{path}?")


@pytest.mark.parametrize(
    "name", ["../../../../evil.wav", "/tmp/evil.wav", "evil\0.wav", "a\r\nb.wav"]
)
async def test_the_name_of_an_upload_is_no_path(worker, tmp_path, monkeypatch, name):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.parent.rglob("*"))
    async with in_process(worker, preload=False) as (_, client):
        files = {"file": (name, b"RIFF0000WAVE", "audio/wav")}
        answer = await client.post("/v1/audio/transcriptions", files=files)
    assert answer.status_code in {200, 400}
    assert set(tmp_path.parent.rglob("*")) == before
    assert not Path("/tmp/evil.wav").exists()


def test_a_webhooks_address_adds_no_header():
    seen = []

    async def hook(request: web.Request) -> web.Response:
        seen.append(dict(request.headers))
        return web.Response()

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", hook)
    with serve(application) as url, run_local(1, surfaces=("embeddings",)) as local:
        with local.http() as http:
            for end in (
                "/hook\r\nX-Evil: 1",
                "/hook HTTP/1.1\r\nX-Evil: 1\r\n\r\n",
                "/h\nX-Evil:1",
            ):
                body = {"input": EMBEDDINGS, "webhook": url + end}
                http.post("/v2/embeddings/run", json=body)
        done = local.run("embeddings", EMBEDDINGS, webhook=f"{url}/last")
        local.end("embeddings", done)
        wait_until(lambda: seen)
        time.sleep(0.3)
    assert not any("X-Evil" in headers for headers in seen)


# Secrets -------------------------------------------------------------------------------------------


async def test_no_text_of_a_client_is_in_errors_metrics_or_keys(make_worker, store):
    kept, url = store
    worker = make_worker(**variables(url))
    message = {"role": "user", "content": SECRET}
    bodies = [
        {"messages": [message], "temperature": 7},
        {"messages": [message, {"role": "robot", "content": SECRET}]},
        {"messages": [message], "response_format": {"type": "json_schema"}},
        {"prompt": SECRET, "size": "1x1"},
        {"audioUrl": "nothing!", "prompt": SECRET},
        {"audioUrl": f"http://10.0.0.1/{SECRET}?key={SECRET}"},
        {"input": [SECRET, ""]},
        {"query": SECRET, "documents": [SECRET], "top_n": 0},
    ]
    for body in bodies:
        error = error_of(await worker.answer({"id": "j", "input": body}))
        assert SECRET not in json.dumps(error)
    await worker.answer({"id": "j", "input": {**IMAGE, "prompt": SECRET}})
    assert kept.objects
    assert SECRET not in str(list(kept.objects))
    async with in_process(worker, preload=False) as (_, client):
        await client.post("/v1/embeddings", json={"input": SECRET})
        assert SECRET not in (await client.get("/metrics")).text


async def test_no_secret_of_the_operator_is_shown(make_worker, store):
    _, url = store
    secrets = {
        "HF_TOKEN": "hf_hidden1",
        "BUCKET_SECRET_ACCESS_KEY": "hidden2",
        "RUNPOD_AI_API_KEY": "hidden3",
    }
    env = {**variables(url), **secrets}
    worker = make_worker(**env)
    async with in_process(worker, preload=False) as (_, client):
        paths = ("/v1/models", "/v1/models/Fake_Chat", "/openapi.json", "/metrics", "/v1/none")
        shown = [(await client.get(path)).text for path in paths]
    shown.append(str(await asyncio.to_thread(check, {"FAKE_ENGINES": "1", "DEVICE": "cpu", **env})))
    assert not [value for value in secrets.values() if value in "".join(shown)]


def test_no_secret_is_in_the_list_of_processes():
    with run_local(1, surfaces=("chat",), HF_TOKEN="hf_hidden") as local:
        local.end("chat", local.run("chat", CHAT))
        worker = psutil.Process(local.workers.pids()["worker-1"])
        words = [process.cmdline() for process in (worker, *worker.children(recursive=True))]
    assert local.token not in str(words)
    assert "hf_hidden" not in str(words)


# Connections ---------------------------------------------------------------------------------------


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that nobody has signed."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    file = folder / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    return context


async def test_a_certificate_that_nobody_signed_is_not_accepted(tmp_path, make_worker):
    asked = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.close()

    server = await asyncio.start_server(
        answer, "localhost", 0, ssl=certificate(tmp_path), family=socket.AF_INET
    )
    async with server:
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}"
        async with MediaDoor(Guard(frozenset({"localhost"}), timeout_s=5)) as door:
            with pytest.raises(QuartetError) as caught:
                await door.fetch(f"{url}/a.wav", "audioUrl", 1000)
        assert caught.value.code == "media_unreachable"
        worker = make_worker(**variables(url))
        assert (
            error_of(await worker.answer({"id": "j", "input": IMAGE}))["code"] == "storage_failed"
        )
    assert asked == []


def test_no_code_turns_verification_off():
    off = re.compile(
        r"verify\s*=\s*False|ssl\s*=\s*False|CERT_NONE|check_hostname\s*=\s*False|_create_unverified"
    )
    files = [
        file
        for room in ("handler", "models", "builder", "local")
        for file in (ROOT / room).rglob("*.py")
    ]
    assert not [str(file) for file in files if off.search(file.read_text())]


def test_secrets_are_compared_in_constant_time():
    """No ``==`` has a token or a key on either side."""
    names = re.compile(r"(^|_)(token|key|secret|signature|password)$")
    found = []
    for file in (ROOT / "local").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq):
                sides = [
                    getattr(side, "attr", getattr(side, "id", ""))
                    for side in (node.left, *node.comparators)
                ]
                found += [f"{file.name}:{node.lineno}" for side in sides if names.search(side)]
    assert found == []


@pytest.mark.parametrize("length", ["Content-Length: 4\r\n", "Content-Length: 0\r\n"])
def test_a_request_that_is_two_is_answered_once(length):
    """A front end that reads one length and a worker that reads the other would see another request."""
    hidden = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
    smuggled = (
        f"POST /v1/embeddings HTTP/1.1\r\nHost: 127.0.0.1\r\n{length}Transfer-Encoding: chunked\r\n"
        f"Content-Type: application/json\r\n\r\n0\r\n\r\n{hidden}"
    )
    with serve_worker() as url:
        port = httpx.URL(url).port
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(smuggled.encode())
            connection.settimeout(3)
            answered = b""
            try:
                while piece := connection.recv(65536):
                    answered += piece
            except TimeoutError:
                pass
    assert b'"object":"list"' not in answered.replace(b" ", b"")


# Values that no field has --------------------------------------------------------------------------

ODD_VALUES = {
    "an unpaired surrogate": '"\\ud800"',
    "more than a float holds": "1e400",
    "an integer of 400 digits": "1" + 400 * "0",
    "no number": "NaN",
    "a deep list": 3000 * "[" + 3000 * "]",
}
ROUTES = {
    "chat": "/v1/chat/completions",
    "images": "/v1/images/generations",
    "transcribe": "/v1/audio/transcriptions",
    "speech": "/v1/audio/speech",
    "embeddings": "/v1/embeddings",
}


def with_odd_values(body: Any) -> Iterator[str]:
    """JSON of a body in which each place in turn has each of the values."""
    text = json.dumps(body)
    places, holders = [], [body]
    while holders:
        holder = holders.pop()
        for key in holder if isinstance(holder, dict) else range(len(holder)):
            places.append((holder, key))
            if isinstance(holder[key], dict | list):
                holders.append(holder[key])
    for holder, key in places:
        usual, holder[key] = holder[key], "@"
        changed, holder[key] = json.dumps(body), usual
        yield from (changed.replace('"@"', value) for value in ODD_VALUES.values())
    assert json.dumps(body) == text


@pytest.mark.parametrize("surface", ROUTES)
async def test_no_value_of_any_field_is_a_fault(make_worker, surface):
    """It is refused or honoured; an answer of status 500 would be a fault."""
    worker = make_worker(SURFACE=surface, MEDIA_TIMEOUT_S="1")
    async with in_process(worker, preload=False) as (_, client):
        for file in sorted((ROOT / "tests/corpus" / surface).glob("*.json")):
            body = json.loads(file.read_bytes())
            route = body.get("openai_route", ROUTES[surface])
            for text in with_odd_values(body.get("openai_input", body)):
                headers = {"Content-Type": "application/json"}
                answer = await client.post(route, content=text, headers=headers)
                assert answer.status_code < 500, text[:500]


async def test_an_error_that_repeats_half_a_letter_can_be_sent(make_worker):
    content = [{"type": "\ud800", "text": "a"}]
    body = {"max_tokens": 4, "messages": [{"role": "user", "content": content}]}
    async with in_process(make_worker(SURFACE="chat"), preload=False) as (_, client):
        answer = await client.post("/v1/messages", content=json.dumps(body))
    assert answer.status_code == 400
    assert "\\ud800" in answer.json()["error"]["message"]


# The page ------------------------------------------------------------------------------------------


def test_the_page_makes_no_markup_of_text():
    """Names of models and words of answers are text: no script builds markup from strings."""
    makes = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc"
    )
    scripts = list((ROOT / "playground").rglob("*.js"))
    assert scripts
    assert not [str(file) for file in scripts if makes.search(file.read_text())]

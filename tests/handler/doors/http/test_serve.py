"""The worker's own HTTP door: what is beyond the clients of ``tests/system/test_clients.py``."""

from __future__ import annotations

import base64
import errno
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from handler.errors import error_object, http_status
from local.api import openai as proxy
from models.errors import DeviceLost, ModelLoadFailed, QuartetError
from tests.conftest import ROOT
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, WAV, check
from tests.support.running import environment, free_port, wait_until
from tests.support.serving import (
    in_process,
    metric,
    url,  # noqa: F401 - a fixture
)

LONG = {"messages": [{"role": "user", "content": "x" * 3000}]}  # 60 s with 20 ms a token


def error_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_streams_are_server_sent_events(url):
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        text = response.read().decode()
    events = text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    for event in events[:-2]:
        check(ChatCompletionChunk, json.loads(event.removeprefix("data: ")))


def test_completions_have_openais_shape(url):
    answer = httpx.post(f"{url}/v1/completions", json={"prompt": [72, 105]}).json()
    completion = check(Completion, answer)
    assert completion.choices[0].text == "H"  # the fake echoes all but its last token
    assert completion.object == "text_completion"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({"prompt": [300]}, "invalid_value", "prompt"),
        ({"prompt": ["a"] * 21}, "invalid_value", "prompt"),
        ({"prompt": "a", "best_of": 3}, "unsupported_parameter", "best_of"),
        ({"prompt": "a", "suffix": "z"}, "unsupported_parameter", "suffix"),
        ({"prompt": "a", "logprobs": 21}, "invalid_value", "logprobs"),
        ({"prompt": "a", "logprobs": 2, "echo": True}, "unsupported_parameter", "echo"),
    ],
)
def test_completions_refuse_clearly(url, body, code, param):
    error = error_of(httpx.post(f"{url}/v1/completions", json=body), 400)
    assert (error["code"], error["param"]) == (code, param)


@pytest.mark.parametrize(
    ("path", "content", "status", "code"),
    [
        ("/v1/chat/completions", b"{", 400, "invalid_json"),
        ("/v1/chat/completions", b"[]", 400, "invalid_json"),
        ("/v1/embeddings", b'{"input": "' + b"x" * 300_000 + b'"}', 413, "request_too_large"),
        ("/v1/moderations", b"{}", 404, "unknown_url"),
        (
            "/v1/chat/completions",
            json.dumps({**CHAT, "model": "x"}).encode(),
            404,
            "model_not_found",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_status(url, path, content, status, code):
    assert error_of(httpx.post(url + path, content=content), status)["code"] == code


def test_a_form_is_read_like_json(url):
    form = {"response_format": "verbose_json", "timestamp_granularities[]": ["word", "segment"],
            "temperature": "0.25", "language": "de"}  # fmt: skip
    answer = httpx.post(
        f"{url}/v1/audio/transcriptions", data=form, files={"file": ("a.wav", b"123456")}
    ).json()
    assert answer["words"]
    assert answer["text"] == "6 bytes"
    assert answer["language"] == "german"


@pytest.mark.parametrize(
    ("form", "files", "code", "param"),
    [
        ({"temperature": "7"}, {"file": b"123"}, "invalid_value", "temperature"),
        ({"temperature": "warm"}, {"file": b"123"}, "invalid_type", "temperature"),
        (
            {"diarize": "true", "response_format": "json"},
            {"file": b"123"},
            "invalid_value",
            "diarize",
        ),
        ({"language": "en"}, {}, "missing_required_parameter", "file"),
        ({"file": "speech.wav"}, {}, "missing_required_parameter", "file"),
        ({}, {"file": b""}, "media_invalid", "file"),
    ],
)
def test_a_form_is_refused_like_json(url, form, files, code, param):
    files = files or {"none": (None, "")}  # so that it is sent as multipart
    response = httpx.post(f"{url}/v1/audio/transcriptions", data=form, files=files)
    error = error_of(response, 400)
    assert (error["code"], error["param"]) == (code, param)


def test_a_form_over_the_limit_and_one_that_is_none(url):
    files = {"file": ("a.wav", b"x" * 300_000)}
    assert error_of(httpx.post(f"{url}/v1/audio/transcriptions", files=files), 413)
    broken = httpx.post(
        f"{url}/v1/audio/transcriptions", content=b"no form",
        headers={"content-type": "multipart/form-data"},
    )  # fmt: skip
    assert error_of(broken, 400)["code"] == "invalid_value"


def test_no_client_can_name_a_file_of_ours(url):
    for reference in ("upload:0", "/etc/hostname", "file:///etc/hostname"):
        response = httpx.post(f"{url}/v1/audio/transcriptions", json={"audioUrl": reference})
        assert error_of(response, 400)["code"].startswith("media_")


def test_images_of_a_form_and_of_json_are_the_same(url):
    files = {"image": ("a.png", base64.b64decode(WAV.partition(",")[2]))}
    form = {"prompt": "x", "n": "2", "size": "64x64", "seed": "5", "steps": "1"}
    by_form = httpx.post(f"{url}/v1/images/edits", data=form, files=files).json()
    body = {**IMAGES, "n": 2, "size": "64x64", "seed": 5, "steps": 1, "image": WAV}
    by_json = httpx.post(f"{url}/v1/images/edits", json=body).json()
    assert by_form["data"] == by_json["data"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_the_engine(url, stream):
    body = {**LONG, "stream": stream}
    with pytest.raises(httpx.ReadTimeout):
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=0.5) as response:
            for _ in response.iter_text():
                time.sleep(0.6)
                raise httpx.ReadTimeout("left")
    start = time.monotonic()
    quick = {"messages": [{"role": "user", "content": "Hi"}]}
    answer = httpx.post(f"{url}/v1/chat/completions", json=quick, timeout=10)
    assert answer.is_success
    assert time.monotonic() - start < 3
    name = "quartet_requests_in_flight"
    wait_until(lambda: metric(url, name, route="/v1/chat/completions") == 0, 5)


def test_metrics_count_by_route_and_code(url):
    labels = {"route": "/v1/embeddings", "code": "ok"}
    before = metric(url, "quartet_requests_total", **labels)
    httpx.post(f"{url}/v1/embeddings", json=EMBEDDINGS)
    httpx.post(f"{url}/v1/embeddings", json={"input": 7})
    assert metric(url, "quartet_requests_total", **labels) == before + 1
    assert metric(url, "quartet_requests_total", route="/v1/embeddings", code="invalid_type") >= 1
    assert metric(url, "quartet_model_warm", model="Fake_Embeddings") == 1
    assert metric(url, "quartet_request_seconds_count", route="/v1/embeddings") >= 2
    assert metric(url, "process_resident_memory_bytes") > 1e6


def test_errors_of_streams_and_of_bodies_are_counted(url):
    chat = {"route": "/v1/chat/completions"}
    before = metric(url, "quartet_requests_total", code="model_not_found", **chat)
    body = {**CHAT, "stream": True, "model": "nobody"}
    httpx.post(f"{url}/v1/chat/completions", json=body)
    httpx.post(f"{url}/v1/chat/completions", content=b"{")
    assert metric(url, "quartet_requests_total", code="model_not_found", **chat) == before + 1
    assert metric(url, "quartet_requests_total", code="invalid_json", **chat) >= 1


def test_other_names_are_not_answered_on_this_machine(url):
    refused = httpx.get(f"{url}/v1/models", headers={"Host": "evil.example"})
    assert refused.status_code == 400


def test_an_edit_needs_a_picture(url):
    error = error_of(httpx.post(f"{url}/v1/images/edits", json={"prompt": "red"}), 400)
    assert (error["code"], error["param"]) == ("missing_required_parameter", "image")


@pytest.mark.parametrize("path", ["//v1/embeddings", "/v1//embeddings", "///v1/embeddings"])
def test_a_base_url_that_ends_in_a_slash(url, path):
    assert httpx.post(f"{url}{path}", json=EMBEDDINGS).status_code == 200


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_each_address_of_rankings(url, path):
    answer = httpx.post(f"{url}{path}", json={"query": "a", "documents": ["b", "c"]}).json()
    assert len(answer["results"]) == 2


def test_a_page_asks_which_methods_there_are(url):
    plain = httpx.options(f"{url}/v1/chat/completions")
    assert plain.status_code == 204
    assert plain.headers["allow"] == "POST"
    assert httpx.options(f"{url}/v1/nothing").status_code == 404
    headers = {
        "Origin": url,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization, content-type",
    }
    asked = httpx.options(f"{url}/v1/chat/completions", headers=headers)
    assert asked.status_code == 200
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "authorization" in asked.headers["access-control-allow-headers"]
    answer = httpx.post(f"{url}/v1/chat/completions", json=CHAT, headers={"Origin": url})
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_no_event_has_a_line_end_in_its_text(url, end):
    """Readers that split at Unicode's line ends would see half an event."""
    body = {"messages": [{"role": "user", "content": f"a{end}b"}], "stream": True}
    text = httpx.post(f"{url}/v1/chat/completions", json=body).content.decode()
    assert end not in text
    assert len(text.splitlines()) == len(text.split("\n")) - 1
    events = [json.loads(line[6:]) for line in text.split("\n\n")[:-2]]
    said = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
    assert said == f"a{end}b"


# Health ------------------------------------------------------------------------------------------


def with_loader(worker: Any, load: Any) -> Any:
    from models.warm.pool import Pool

    pool = Pool(load, 10**9, 8)
    return replace(worker, dispatcher=replace(worker.dispatcher, pool=pool))


@pytest.mark.anyio
async def test_ping_says_warming_then_healthy(make_worker):
    import asyncio
    import threading

    worker, release = make_worker(SURFACE="embeddings"), threading.Event()
    row = worker.endpoint.pick("embeddings", None)

    def load(row: Any) -> Any:
        from models.fake import FakeEmbeddings

        release.wait(10)
        return FakeEmbeddings(row)

    async with in_process(with_loader(worker, load)) as (door, client):
        assert (await client.get("/ping")).status_code == 204
        release.set()
        for _ in range(100):
            if (await client.get("/ping")).status_code == 200:
                break
            await asyncio.sleep(0.02)
        assert door.state == "healthy"
        answer = await client.post("/v1/embeddings", json=EMBEDDINGS)
        assert answer.json()["model"] == row.slug


@pytest.mark.anyio
async def test_ping_says_broken_when_the_model_cannot_be_had(make_worker):
    import asyncio

    def load(row: Any) -> Any:
        raise ModelLoadFailed("It cannot be loaded.")

    worker = with_loader(make_worker(SURFACE="embeddings"), load)
    async with in_process(worker) as (_, client):
        await asyncio.sleep(0.1)
        assert (await client.get("/ping")).status_code == 503
        answer = await client.post("/v1/embeddings", json=EMBEDDINGS)
        assert error_of(answer, 503)["code"] == "model_load_failed"


@pytest.mark.anyio
async def test_ping_says_broken_once_the_device_is_lost(make_worker):
    from models.fake import FakeEmbeddings

    class Lost(FakeEmbeddings):
        def run(self, batch: Any) -> Any:
            raise DeviceLost("The GPU is gone.")

    worker = with_loader(make_worker(SURFACE="embeddings"), Lost)
    async with in_process(worker, preload=False) as (_, client):
        assert (await client.get("/ping")).status_code == 200
        answer = await client.post("/v1/embeddings", json=EMBEDDINGS)
        assert error_of(answer, 503)["code"] == "device_lost"
        assert (await client.get("/ping")).status_code == 503


@pytest.mark.anyio
async def test_ping_says_broken_once_a_stream_lost_the_device(make_worker):
    from models.fake_chat import FakeChat

    class Lost(FakeChat):
        def step(self) -> Any:
            raise DeviceLost("The GPU is gone.")

    worker = with_loader(make_worker(SURFACE="chat"), Lost)
    async with in_process(worker, preload=False) as (_, client):
        body = {"prompt": "x", "stream": True}
        answer = await client.post("/v1/completions", json=body)
        assert error_of(answer, 503)["code"] == "device_lost"
        assert (await client.get("/ping")).status_code == 503


# The process -------------------------------------------------------------------------------------


class SocketModule:
    """The socket module, whose sockets cannot be bound."""

    def __init__(self, bind: Any) -> None:
        self.socket = type("Socket", (socket.socket,), {"bind": bind})

    def __getattr__(self, name: str) -> Any:
        return getattr(socket, name)


def start(**env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "handler"], cwd=ROOT, env=environment(SERVE="1", **env),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def pings(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 200
    except httpx.ConnectError:
        return False


def test_sigterm_finishes_what_is_in_flight_on_both_ports():
    port, health = free_port(), free_port()
    env = {"PORT": str(port), "PORT_HEALTH": str(health), "FAKE_DELAY_S": "0.02"}
    with start(**env) as process:
        wait_until(lambda: pings(port) and pings(health))
        body = {"messages": [{"role": "user", "content": "x" * 60}], "stream": True}
        with httpx.stream("POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as one:
            lines = one.iter_lines()
            next(lines)
            process.send_signal(signal.SIGTERM)
            rest = list(lines)
        assert "data: [DONE]" in rest
        assert process.wait(15) == 128 + signal.SIGTERM
        output = process.stdout.read()
    assert "Traceback" not in output
    assert "xxx" not in output, "a prompt was logged"


def test_a_port_that_this_user_may_not_have_is_named(make_worker, monkeypatch):
    """Below 1024, in a container without rights: PORT is what to change."""
    from handler.doors.http import serve
    from handler.settings.variable import SettingsError
    from handler.settings.variables import Settings

    def refuse(self: Any, address: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(serve, "socket", SocketModule(refuse))
    settings = Settings.from_env({"PORT": "80", "FAKE_ENGINES": "1"})
    with pytest.raises(SettingsError, match=r"^PORT: 80 is not for user \d+; choose one from 1024"):
        serve.run(make_worker(), settings, on_runpod=False)


def test_a_port_that_is_taken_is_said_in_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with start(PORT=str(port)) as process:
            output, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output.strip() == f"quartet: PORT: {port} is taken; choose another"


def test_a_balancer_starts_it_with_serve_and_port_alone():
    port = free_port()
    with start(PORT=str(port), RUNPOD_POD_ID="pod", RUNPOD_WEBHOOK_GET_JOB="http://x") as process:
        try:
            wait_until(lambda: pings(port))
        finally:
            process.terminate()
            process.communicate(timeout=15)


def every_error(kind: type[QuartetError] = QuartetError) -> Iterator[type[QuartetError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from every_error(below)


def test_both_doors_give_an_error_the_same_status():
    kinds = set(every_error())
    assert len(kinds) > 20
    for kind in kinds:
        error = QuartetError.__new__(kind)
        QuartetError.__init__(error, "x")
        told = error_object(error)
        assert http_status(told) == proxy.status_of(dict(told))

"""What the gateway answers, as its routes and schemas have it: a table of bodies and statuses.

The front door of ``python -m local`` is held to it, so that who tries here is not surprised there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.api.uris import is_uri
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE
from tests.support.running import Local, run_local

AUDIO = "https://example.com/a.wav"
MALFORMED = "Malformed JSON in request body"


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """Without a worker: only what the front door itself answers is of interest."""
    with run_local(0) as one:
        yield one


def chat(**fields: Any) -> tuple[str, Any]:
    return "/v1/chat/completions", {**CHAT, **fields}


def images(**fields: Any) -> tuple[str, Any]:
    return "/v1/images/generations", {**IMAGES, **fields}


def transcribe(**fields: Any) -> tuple[str, Any]:
    return "/v1/audio/transcriptions", {**TRANSCRIBE, **fields}


def embeddings(**fields: Any) -> tuple[str, Any]:
    return "/v1/embeddings", {**EMBEDDINGS, **fields}


def direct(**fields: Any) -> tuple[str, Any]:
    return "/v1/runpod/chat/run", {"input": {"prompt": "Hi"}, **fields}


ADDRESSES = [
    (AUDIO, True),
    ("http://[::1]:8000/a.wav", True),
    ("data:audio/wav;base64,AAA+/==", True),
    ("s3://bucket/key", True),
    ("file:///a.wav", True),
    ("mailto:a@b.example", True),
    ("https://example.com/%C3%A4.wav", True),
    ("https://example.com/a b.wav", False),
    ("https://example.com/ä.wav", False),
    ("https://example.com/%zz", False),
    ("https://example.com/{a}", False),
    ("https://example.com/?q[]=1", False),
    ("http://[::1", False),
    ("http://[zz]/", False),
    (f" {AUDIO}", False),
    (f"{AUDIO}\n", False),
    ("//example.com/a.wav", False),
    ("example.com/a.wav", False),
    ("", False),
]

TABLE: list[tuple[tuple[str, Any], int]] = [
    (chat(), 202),
    (chat(anything={"deep": [None]}), 202),
    (chat(temperature=0), 202),
    (chat(temperature=2.1), 400),
    (chat(max_tokens=0), 400),
    (chat(max_tokens=8192.0), 202),
    (chat(max_tokens=8193), 400),
    (chat(stream="yes"), 400),
    (chat(user=""), 400),
    (chat(messages=[]), 400),
    (chat(messages=[{"role": "tool", "content": "x"}]), 400),
    (chat(messages=[{"role": "user", "content": [{"type": "text", "text": "x"}]}]), 400),
    (chat(webhook_url="ftp://example.com/x"), 202),
    (chat(webhook_url="http://example.com/x"), 202),
    (chat(webhook_url="not an address"), 400),
    (chat(webhook_url=None), 400),
    (chat(worker_type="whatever"), 202),
    (images(n=8), 202),
    (images(n=9), 400),
    (images(n="1"), 400),
    (images(size="x"), 400),
    (images(response_format="png"), 400),
    (images(negative_prompt=""), 400),
    (transcribe(language="e"), 400),
    (transcribe(response_format="vtt"), 202),
    (transcribe(response_format="doc"), 400),
    *((transcribe(audioUrl=address), 202 if valid else 400) for address, valid in ADDRESSES),
    (embeddings(input=[]), 400),
    (embeddings(input=[""]), 400),
    (embeddings(input=[[1, 2]]), 400),
    (embeddings(dimensions=0), 400),
    (embeddings(encoding_format="base64"), 202),
    (direct(), 200),
    (direct(input=None), 400),
    # A body whose input is no object is the input, whole: OpenAI's speech and embeddings.
    *((direct(input=value), 200) for value in ("text", ["a"], False, 0, 1.5)),
    (direct(input={}), 200),
    (direct(worker_type="flex"), 200),
    (direct(worker_type="fast"), 400),
    (direct(endpointId=" chat "), 200),
    (direct(endpointId=" "), 200),
    (direct(endpointId=""), 400),
    (direct(endpointId=5), 400),
    (direct(endpointId="nobodys"), 404),
    (direct(policy=None), 400),
    (direct(policy=[]), 400),
    (direct(s3Config={"bucket": "b", "region": "auto"}), 200),
    (direct(webhook="not an address"), 400),
    (("/v1/runpod/chat/run", {"prompt": "Hi", "webhook": "https://example.com/x"}), 200),
    (("/v1/runpod/poems/run", {"input": {}}), 400),
    (("/v1/webhooks/test", {"webhook_url": "http://example.com/x"}), 400),
    (("/v1/webhooks/test", {"webhook_url": "https://example.com/x", "event": "job.done"}), 400),
    (("/v1/webhooks/test", {}), 400),
    (("/v1/embeddings/", EMBEDDINGS), 404),
    (("/v1/embedding", EMBEDDINGS), 404),
    *(((path, value), 400) for path in ("/v1/embeddings", "/v1/runpod/chat/run")
      for value in (None, [], "text", 5)),
]  # fmt: skip


@pytest.mark.parametrize(("asked", "status"), TABLE)
def test_a_body_has_its_status(local, asked, status):
    path, body = asked
    with local.http() as http:
        answer = http.post(
            path, content=json.dumps(body), headers={"Content-Type": "application/json"}
        )
    assert answer.status_code == status, answer.text
    if status == 400 and "success" in answer.text:
        assert answer.json()["success"] is False
        expected = {"surface": "poems"} if "poems" in path else body
        assert answer.json()["data"] == expected, "what was sent is echoed"


@pytest.mark.parametrize(("address", "valid"), ADDRESSES)
def test_an_address_is_a_uri_or_not(address, valid):
    assert is_uri(address) is valid


def test_a_long_data_uri_is_read_in_no_time():
    assert is_uri("data:audio/wav;base64," + "A" * 10_000_000)
    assert not is_uri("data:audio/wav;base64," + "A" * 10_000_000 + " ")


@pytest.mark.parametrize(
    ("method", "path", "status", "text"),
    [
        ("GET", "/v1/embeddings", 404, "404 Not Found"),
        ("DELETE", "/v1/jobs/chat/x", 404, "404 Not Found"),
        ("GET", "/v1/nothing", 404, "404 Not Found"),
        ("POST", "/v1/embeddings/", 404, "404 Not Found"),
        ("GET", "/nothing", 404, "404 Not Found"),
        ("OPTIONS", "/v1/nothing", 204, ""),
        ("OPTIONS", "/anything/at/all", 204, ""),
        ("OPTIONS", "/v2/chat/run", 204, ""),
        ("HEAD", "/v1/runpod/chat/health", 200, ""),
    ],
)
def test_a_route_has_its_status_and_every_answer_cors(local, method, path, status, text):
    with local.http() as http:
        answer = http.request(method, path)
    assert (answer.status_code, answer.text) == (status, text)
    assert answer.headers["access-control-allow-origin"] == "*"
    if status == 404:
        assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/jobs/chat/unknown", 404, "upstream_error"),
        ("/v1/jobs/chat/unknown/download", 404, "upstream_error"),
        ("/v1/jobs/chat/unknown/ws", 426, "upgrade_required"),
        ("/v1/runpod/chat/status/unknown", 404, "upstream_error"),
        ("/v1/runpod/chat/health?endpointId=nobodys", 404, "upstream_error"),
        ("/v1/runpod/chat/health?endpointId=%20", 200, None),
        ("/v1/jobs/poems/x", 400, None),
        ("/v1/jobs/poems/x/ws", 400, None),
        ("/v1/jobs/chat/x/ws?endpointId=", 400, None),
        ("/v1/jobs/chat/x/download?format=xml", 400, None),
    ],
)
def test_a_question_has_its_status(local, path, status, code):
    with local.http() as http:
        answer = http.get(path)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert answer.json()["error"]["code"] == code


def test_without_a_key_nothing_else_is_looked_at(local):
    with local.http() as http:
        for path in ("/v1/nothing", "/v1/jobs/poems/x", "/v1/jobs/poems/x/ws"):
            answer = http.get(path, headers={"Authorization": ""})
            assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")


def test_a_body_that_is_not_sent_as_json_is_taken_for_an_empty_one(local):
    with local.http() as http:
        answer = http.post("/v1/embeddings", content=b'{"input": "x"}')
    assert answer.status_code == 400
    assert answer.json()["data"] == {}

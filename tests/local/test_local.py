"""RunPod's own routes, in front of the real worker with fake engines."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from local.queue.limits import Limits
from tests.conftest import error_of
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE
from tests.support.pace import SLOW
from tests.support.receiver import Receiver
from tests.support.running import Local, run_local, wait_until
from tests.support.servers import serve

BODIES = {"chat": CHAT, "images": IMAGES, "transcribe": TRANSCRIBE, "embeddings": EMBEDDINGS}


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """One worker of all surfaces; each token takes 10 ms."""
    limits = Limits(webhook_pause_s=0.1, sync_wait_s=30)
    with run_local(limits=limits, FAKE_DELAY_S="0.01", CONCURRENCY="16") as one:
        yield one


@pytest.mark.parametrize("endpoint", ["own", "all"])
@pytest.mark.parametrize("surface", BODIES)
def test_every_surface_through_its_own_endpoint_and_through_all(local, surface, endpoint):
    endpoint = surface if endpoint == "own" else endpoint
    done = local.end(endpoint, local.run(endpoint, BODIES[surface]))
    assert done["status"] == "COMPLETED"
    assert done["workerId"] == "worker-1"
    assert done["delayTime"] >= 0
    assert done["executionTime"] >= 0
    assert "error" not in done
    assert done["output"]


def test_an_endpoint_of_one_surface_knows_what_it_serves(local):
    """A bare prompt is a chat at one endpoint and a picture at another, of the same worker."""
    said = local.end("chat", local.run("chat", {"prompt": "Hi"}))
    assert said["output"]["object"] == "chat.completion"
    drawn = local.end("images", local.run("images", {"prompt": "Hi"}))
    assert drawn["output"]["data"]
    refused = local.end("embeddings", local.run("embeddings", {**CHAT, "surface": "chat"}))
    assert refused["status"] == "FAILED"
    assert json.loads(refused["error"])["code"] == "surface_unknown"


def test_a_failed_job_brings_the_workers_error_object(local):
    done = local.end("chat", local.run("chat", {**CHAT, "temperature": 9}))
    assert done["status"] == "FAILED"
    assert error_of({"error": done["error"]})["param"] == "temperature"


def test_runsync_waits_and_answers_whole(local):
    with local.http() as http:
        done = http.post("/v2/embeddings/runsync", json={"input": EMBEDDINGS}).json()
    assert done["status"] == "COMPLETED"
    assert done["id"].startswith("sync-")
    assert done["output"]["object"] == "list"


def test_runsync_waits_no_longer_than_told(local):
    with local.http() as http:
        start = time.monotonic()
        answer = http.post("/v2/chat/runsync?wait=1000", json={"input": SLOW})
        waited_s = time.monotonic() - start
        assert answer.status_code == 200
        assert answer.json()["status"] == "IN_PROGRESS"
        assert "output" not in answer.json()
        assert 0.9 < waited_s < 5
        job_id = answer.json()["id"]
        assert http.post(f"/v2/chat/cancel/{job_id}").json()["status"] == "CANCELLED"


def test_a_stream_comes_in_parts_and_each_part_once(local):
    job_id = local.run("chat", {**CHAT, "stream": True})
    texts: list[str] = []
    with local.http() as http:
        while True:
            part = http.get(f"/v2/chat/stream/{job_id}").json()
            chunks = [one["output"] for one in part["stream"]]
            texts += [c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"]]
            if part["status"] == "COMPLETED" and not chunks:
                break
        assert "".join(texts) == "Hello"
        whole = http.get(f"/v2/chat/status/{job_id}").json()["output"]
        assert len(whole) >= 3


def test_cancelling_stops_the_engine(local):
    """The fake chat engine runs one conversation at a time: the next waits for the slot."""
    job_id = local.run("chat", {**SLOW, "stream": True})
    wait_until(lambda: local.job("chat", job_id).chunks)
    with local.http() as http:
        assert http.post(f"/v2/chat/cancel/{job_id}").json() == {
            "id": job_id,
            "status": "CANCELLED",
        }
    start = time.monotonic()
    done = local.end("chat", local.run("chat", CHAT), 10)
    assert done["status"] == "COMPLETED"
    assert time.monotonic() - start < 5, "the cancelled job kept the engine"
    assert local.status("chat", job_id)["status"] == "CANCELLED"


def test_what_waits_is_cancelled_purged_and_retried():
    with run_local(0) as local, local.http() as http:
        one, two, three = (local.run("chat", CHAT) for _ in range(3))
        assert http.get("/v2/chat/health").json()["jobs"]["inQueue"] == 3
        assert http.post(f"/v2/chat/cancel/{one}").json()["status"] == "CANCELLED"
        assert http.post("/v2/chat/purge-queue").json() == {"removed": 2, "status": "completed"}
        assert {local.status("chat", job)["status"] for job in (two, three)} == {"CANCELLED"}
        again = http.post(f"/v2/chat/retry/{two}")
        assert again.json() == {"id": two, "status": "IN_QUEUE"}
        health = http.get("/v2/chat/health").json()
        assert health["jobs"]["inQueue"] == 1
        assert health["jobs"]["retried"] == 1
        assert health["workers"]["ready"] == 0


def test_a_failed_job_is_retried_and_a_completed_one_is_not(local):
    failed = local.run("chat", {**CHAT, "temperature": 9})
    local.end("chat", failed)
    completed = local.run("chat", CHAT)
    local.end("chat", completed)
    with local.http() as http:
        assert http.post(f"/v2/chat/retry/{failed}").status_code == 200
        wait_until(lambda: local.job("chat", failed).tries == 1 and local.job("chat", failed).final)
        refused = http.post(f"/v2/chat/retry/{completed}")
        assert refused.status_code == 400
        assert "COMPLETED" in refused.json()["error"]


def test_health_counts_workers_and_jobs(local):
    with local.http() as http:
        health = http.get("/v2/all/health").json()
    assert set(health["jobs"]) == {"completed", "failed", "inProgress", "inQueue", "retried"}
    assert health["workers"]["ready"] == 1
    assert health["jobs"]["completed"] >= 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/v2/nobody/run", {"input": {}}, 404),
        ("GET", "/v2/chat/status/nothing", None, 404),
        ("POST", "/v2/chat/cancel/nothing", None, 404),
        ("GET", "/v2/chat/run", None, 405),
        ("GET", "/v2/chat/nothing", None, 404),
        ("POST", "/v2/chat/run", {"prompt": "no input"}, 400),
        ("POST", "/v2/chat/run", {"input": None}, 400),
        ("POST", "/v2/chat/run", {"input": {}, "policy": {"executionTimeout": 10}}, 400),
        ("POST", "/v2/chat/run", {"input": {}, "policy": {"ttl": "long"}}, 400),
        ("POST", "/v2/chat/run", {"input": {}, "webhook": "ftp://x"}, 400),
        ("POST", "/v2/chat/runsync?wait=soon", {"input": CHAT}, 400),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(local, method, path, body, status):
    with local.http() as http:
        response = http.request(method, path, json=body)
    assert response.status_code == status
    assert isinstance(response.json()["error"], str)


def test_a_payload_over_the_limit_is_refused(local):
    body = {"input": {"input": "x" * 11_000_000}}
    with local.http() as http:
        refused = http.post("/v2/embeddings/run", json=body)
        assert refused.status_code == 400
        assert "exceeded max body size" in refused.json()["error"]
        not_json = http.post("/v2/embeddings/run", content=b"{")
        assert not_json.status_code == 400


@pytest.mark.parametrize("path", ["run", "runsync", "openai/v1/embeddings"])
@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_json_does_not_have_are_refused(local, path, number):
    body = '{"input": {"input": "x", "q": NUMBER}}'.replace("NUMBER", number)
    with local.http() as http:
        refused = http.post(f"/v2/embeddings/{path}", content=body)
        assert refused.status_code == 400
        assert "not JSON" in refused.text


def test_half_a_character_reaches_the_worker_and_hurts_no_neighbour(local):
    body = r'{"input": {"input": "\ud83d"}}'
    with local.http() as http:
        half = http.post("/v2/embeddings/run", content=body).json()["id"]
    others = [local.run("embeddings", EMBEDDINGS) for _ in range(5)]
    assert "UTF-8" in local.end("embeddings", half)["error"]
    assert {local.end("embeddings", one)["status"] for one in others} == {"COMPLETED"}


@pytest.mark.parametrize(
    "path",
    [
        "/v2/chat/runsync?wait=%C2%B2",
        "/v2/chat/runsync?wait=" + "9" * 5000,
        "/v2/all/ping/x?token=%C3%A9",
    ],
)
def test_odd_parameters_are_refused_like_others(local, path):
    with local.http() as http:
        method = "GET" if "ping" in path else "POST"
        refused = http.request(method, path, json={"input": CHAT} if method == "POST" else None)
    assert refused.status_code in {400, 401}
    assert isinstance(refused.json()["error"], str)


def test_only_this_machines_names_are_answered(local):
    with local.http() as http:
        for path in ("/v2/chat/health", "/v1/jobs/chat/x", "/openapi.json"):
            assert http.get(path, headers={"Host": "evil.example"}).status_code == 421
            assert http.get(path, headers={"Host": "localhost:1"}).status_code != 421


def test_a_retried_job_has_its_webhook_again(local):
    receiver = Receiver()
    with serve(receiver.application()) as url:
        job_id = local.run("chat", {**CHAT, "temperature": 9}, webhook=f"{url}/hook")
        wait_until(lambda: len(receiver.bodies) == 1)
        with local.http() as http:
            http.post(f"/v2/chat/retry/{job_id}")
        wait_until(lambda: len(receiver.bodies) == 2)


@pytest.mark.parametrize(
    "path", ["/v2/chat/health", "/v2/chat/openai/v1/models", "/v1/jobs/chat/x"]
)
def test_a_key_is_needed_and_any_will_do(local, path):
    with local.http() as http:
        assert http.get(path, headers={"Authorization": ""}).status_code == 401
        assert http.get(path, headers={"Authorization": "Bearer"}).status_code == 401
        assert http.get(path, headers={"Authorization": "bare"}).status_code in {200, 404}


def test_a_set_key_is_the_only_one():
    with run_local(0, key="right") as local, local.http() as http:
        assert http.get("/v2/chat/health").status_code == 401
        assert http.get("/v2/chat/health", headers={"Authorization": "Bearer right"}).is_success


def test_workers_addresses_need_their_token(local):
    with local.http() as http:
        for path in ("job-take/x", "job-stop/x", "ping/x"):
            assert http.get(f"/v2/all/{path}").status_code == 401


def test_a_webhook_is_tried_until_it_is_taken(local):
    receiver = Receiver(failures=2)
    with serve(receiver.application()) as url:
        job_id = local.run("embeddings", EMBEDDINGS, webhook=f"{url}/hook")
        wait_until(lambda: len(receiver.bodies) == 3)
        time.sleep(0.5)
    assert len(receiver.bodies) == 3, "it was delivered again after it was taken"
    told = json.loads(receiver.bodies[-1])
    assert told["id"] == job_id
    assert told["status"] == "COMPLETED"
    assert told["output"]["object"] == "list"


def test_the_log_of_a_webhook_holds_no_token(local, caplog):
    receiver = Receiver(failures=99)
    with serve(receiver.application()) as url:
        local.run("embeddings", EMBEDDINGS, webhook=f"{url}/hook/secret-in-path?token=secret")
        wait_until(lambda: [one for one in caplog.messages if "given up" in one])
    told = " ".join(caplog.messages)
    assert "webhook to 127.0.0.1: status" in told
    assert "secret" not in told


@pytest.mark.parametrize("path", ["/v2/embeddings/run", "/v1/embeddings"])
def test_a_client_that_leaves_while_it_sends_is_no_error(local, caplog, path):
    host, port = local.url.removeprefix("http://").split(":")
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer any\r\n"
    for _ in range(3):
        with socket.create_connection((host, int(port))) as peer:
            peer.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
            time.sleep(0.1)
    time.sleep(0.3)
    assert not [one for one in caplog.records if one.exc_info or one.levelname == "ERROR"]


def test_a_webhook_that_is_never_taken_is_given_up(local):
    receiver = Receiver(failures=99)
    with serve(receiver.application()) as url:
        local.run("embeddings", EMBEDDINGS, webhook=f"{url}/hook")
        wait_until(lambda: len(receiver.bodies) == 3)
        time.sleep(0.5)
    assert len(receiver.bodies) == 3


def test_a_result_is_kept_for_a_while():
    limits = Limits(run_retention_s=0.5, runsync_retention_s=0.3)
    with run_local(limits=limits) as local, local.http() as http:
        job_id = local.run("embeddings", EMBEDDINGS)
        local.end("embeddings", job_id)
        done = http.post("/v2/embeddings/runsync", json={"input": EMBEDDINGS}).json()
        for one in (job_id, done["id"]):
            path = f"/v2/embeddings/status/{one}"
            wait_until(lambda path=path: http.get(path).status_code == 404, 5)

"""The gateway's front door, as its contract has it."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import websockets.sync.client as websocket
from aiohttp import web
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from local.queue.endpoints import Served
from local.queue.jobs import Status
from local.queue.limits import Limits
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE
from tests.support.receiver import Receiver
from tests.support.running import KEY, Local, run_local, wait_until
from tests.support.servers import serve

MALFORMED = "Malformed JSON in request body"
ROUTES = [
    ("/v1/chat/completions", CHAT, "chat", "chat.completion.enqueue"),
    ("/v1/images/generations", IMAGES, "images", "image.generation.enqueue"),
    ("/v1/audio/transcriptions", TRANSCRIBE, "transcribe", "audio.transcription.enqueue"),
    ("/v1/embeddings", EMBEDDINGS, "embeddings", "embedding.enqueue"),
]


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    limits = Limits(webhook_pause_s=0.1, socket_pause_s=0.05)
    with run_local(limits=limits, FAKE_DELAY_S="0.01", CONCURRENCY="16") as one:
        yield one


def error_of(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"code", "message", "detail"}
    return error


def refused(response: Any, data: Any = None) -> list[str]:
    """What the gateway's schema refuses, as messages."""
    assert response.status_code == 400, response.text
    body = response.json()
    assert set(body) == {"success", "error", "data"}
    assert body["success"] is False
    assert all(set(one) == {"message"} for one in body["error"])
    assert body["data"] == ({} if data is None else data)
    return [one["message"] for one in body["error"]]


def enqueue(local: Local, path: str, body: dict[str, Any]) -> dict[str, Any]:
    with local.http() as http:
        response = http.post(path, json=body)
    assert response.status_code == 202, response.text
    return response.json()


@pytest.mark.parametrize(("path", "body", "surface", "kind"), ROUTES)
def test_a_request_is_queued_and_its_result_can_be_read(local, path, body, surface, kind):
    before = int(time.time())
    queued = enqueue(local, path, {**body, "user": "u", "worker_type": "flex", "job_id": "mine"})
    assert before <= queued.pop("created") <= time.time()
    job_id = queued["id"]
    assert queued == {
        "id": job_id,
        "object": kind,
        "status": "queued",
        "surface": surface,
        "model": None,
        "endpoint_id": surface,
        "runpod": {"id": job_id, "status": "IN_QUEUE"},
    }
    done = local.end(surface, job_id)
    assert done["status"] == "COMPLETED"
    with local.http() as http:
        assert http.get(f"/v1/jobs/{surface}/{job_id}").json() == done


def test_the_clients_own_words_reach_the_job(local):
    body = {**EMBEDDINGS, "worker_type": "flex", "unknown": {"deep": [1, None]}, "n": 1.0}
    queued = enqueue(local, "/v1/embeddings", body)
    assert local.job("embeddings", queued["id"]).order.input == body


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": []}, "messages"),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": ""}]},
            "messages.0.content",
        ),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "tool", "content": "x"}]},
            "messages.0.role",
        ),
        ("/v1/chat/completions", {**CHAT, "temperature": 2.1}, "temperature"),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 9000}, "max_tokens"),
        ("/v1/images/generations", {"n": 1}, "prompt"),
        ("/v1/images/generations", {"prompt": "x", "n": 9}, "n"),
        ("/v1/audio/transcriptions", {"audioUrl": "not-a-url"}, "audioUrl"),
        ("/v1/audio/transcriptions", {**TRANSCRIBE, "response_format": "doc"}, "response_format"),
        ("/v1/embeddings", {"input": []}, "input"),
        ("/v1/embeddings", {"input": 5}, "input"),
        ("/v1/embeddings", {"input": ["x", ""]}, "input.1"),
        ("/v1/embeddings", {**EMBEDDINGS, "webhook_url": "example.com/x"}, "webhook_url"),
        ("/v1/embeddings", {**EMBEDDINGS, "webhook_url": None}, "webhook_url"),
        ("/v1/embeddings", {**EMBEDDINGS, "model": None}, "model"),
        ("/v1/embeddings", {**EMBEDDINGS, "model": ""}, "model"),
        ("/v1/embeddings", {**EMBEDDINGS, "dimensions": 5.5}, "dimensions"),
        ("/v1/chat/completions", {**CHAT, "temperature": None}, "temperature"),
        ("/v1/chat/completions", {**CHAT, "user": ""}, "user"),
        ("/v1/images/generations", {**IMAGES, "negative_prompt": ""}, "negative_prompt"),
        ("/v1/images/generations", {**IMAGES, "size": None}, "size"),
        ("/v1/audio/transcriptions", {**TRANSCRIBE, "language": None}, "language"),
        ("/v1/runpod/chat/run", {"input": {"prompt": "x"}, "policy": None}, "policy"),
    ],
)
def test_what_the_schema_refuses_is_not_queued(local, path, body, param):
    with local.http() as http:
        [message] = refused(http.post(path, json=body), body)
    assert message.startswith(f"{param}: ")


def test_of_a_field_that_may_be_several_things_the_meant_one_is_explained(local):
    with local.http() as http:
        for given, message in (
            ([], "input: List should have at least 1 item after validation, not 0"),
            (["x", ""], "input.1: String should have at least 1 character"),
        ):
            body = {"input": given}
            assert refused(http.post("/v1/embeddings", json=body), body) == [message]


def test_every_wrong_field_is_told(local):
    body = {"prompt": "", "n": 9, "size": "x"}
    with local.http() as http:
        told = refused(http.post("/v1/images/generations", json=body), body)
    assert [one.partition(":")[0] for one in told] == ["prompt", "n", "size"]


def test_whole_numbers_may_be_written_as_floats(local):
    """JSON has one kind of number; the worker takes them, too."""
    for path, body, surface in (
        ("/v1/images/generations", {**IMAGES, "n": 2.0, "width": 64.0, "height": 64.0}, "images"),
        ("/v1/chat/completions", {**CHAT, "max_tokens": 3.0, "seed": 5.0}, "chat"),
        ("/v1/embeddings", {"input": [[72.0, 105.0]]}, "embeddings"),
    ):
        if surface == "embeddings":  # token ids are no business of the gateway's schema
            job_id = local.run(surface, body)
        else:
            job_id = enqueue(local, path, body)["id"]
        assert local.end(surface, job_id)["status"] == "COMPLETED"


def test_a_surface_without_an_endpoint(local):
    with run_local(0, surfaces=("chat",)) as small, small.http() as http:
        error = error_of(http.post("/v1/embeddings", json=EMBEDDINGS), 400)
        assert error["code"] == "missing_endpoint_id"
        assert error["message"] == "No RunPod endpoint configured for surface embeddings"
        error = error_of(http.get("/v1/runpod/images/health"), 400)
        assert error["code"] == "missing_endpoint_id"


def test_errors_in_the_gateways_shape(local):
    with local.http() as http:
        assert error_of(http.get("/v1/jobs/chat/nothing"), 404)["code"] == "upstream_error"
        assert len(refused(http.get("/v1/jobs/poems/x"), {"surface": "poems", "jobId": "x"})) == 1
        assert error_of(http.get("/v1/jobs/chat/x/ws"), 426)["code"] == "upgrade_required"
        assert refused(http.get("/v1/runpod/chat/health?endpointId="), {"endpointId": ""})
        unknown = error_of(http.get("/v1/runpod/chat/health?endpointId=nobodys"), 404)
        assert unknown["code"] == "upstream_error"
        assert unknown["detail"]["upstream_status"] == 404
        bare = {"Authorization": ""}
        assert error_of(http.post("/v1/embeddings", json=EMBEDDINGS, headers=bare), 401)
        assert (
            error_of(http.get("/v1/runpod/chat/health", headers=bare), 401)["code"]
            == "unauthorized"
        )


def test_bodies_are_read_within_the_limit_and_with_a_key_only(local):
    large = {"input": "x" * 11_000_000}
    with local.http() as http:
        large_ = error_of(http.post("/v1/embeddings", json=large), 400)
        assert "exceeded max body size" in large_["detail"]["upstream_body"]
        bad = http.post("/v1/embeddings", content=b"{", headers={"Authorization": ""})
        assert error_of(bad, 401)


def test_a_body_that_is_none_is_explained(local):
    as_json = {"content-type": "application/json"}
    with local.http() as http:
        for broken in (b"{", b"", b"[" * 100_000):
            answer = http.post("/v1/embeddings", content=broken, headers=as_json)
            assert (answer.status_code, answer.text) == (400, MALFORMED)
            assert answer.headers["content-type"].startswith("text/plain")
        [plain] = refused(http.post("/v1/embeddings", content=b"{}"))
        assert "Content-Type: application/json" in plain
        for path in ("/v1/embeddings", "/v1/runpod/embeddings/run"):
            nan = http.post(path, content=b'{"input": [], "x": NaN}', headers=as_json)
            assert (nan.status_code, nan.text) == (400, MALFORMED)


def test_a_download_is_a_file_where_there_are_no_links(local):
    job_id = enqueue(local, "/v1/embeddings", EMBEDDINGS)["id"]
    local.end("embeddings", job_id)
    with local.http() as http:
        as_json = http.get(f"/v1/jobs/embeddings/{job_id}/download")
        assert as_json.json()["output"]["object"] == "list"
        assert f'"{job_id}.json"' in as_json.headers["content-disposition"]
        as_text = http.get(f"/v1/jobs/embeddings/{job_id}/download?format=txt")
        assert as_text.headers["content-type"].startswith("text/plain")
        assert f'"{job_id}.txt"' in as_text.headers["content-disposition"]
        wrong = http.get(f"/v1/jobs/embeddings/{job_id}/download?format=xml")
        assert refused(wrong, {"format": "xml"})
        # Wherever the job was queued, and whatever else the client says of it.
        elsewhere = http.get(f"/v1/jobs/chat/{job_id}/download?endpointId=nobodys")
        assert elsewhere.json() == as_json.json()


class Bucket:
    """Takes what is put into it."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def application(self) -> web.Application:
        application = web.Application(client_max_size=10**8)
        application.router.add_put("/{key:.*}", self._put)
        return application

    async def _put(self, request: web.Request) -> web.Response:
        self.kept[request.match_info["key"]] = await request.read()
        return web.Response()


def test_a_picture_in_a_bucket_is_a_link_and_nothing_else_is():
    bucket = Bucket()
    with serve(bucket.application()) as store:
        env = {
            "BUCKET_ENDPOINT_URL": store, "BUCKET_ACCESS_KEY_ID": "a",
            "BUCKET_SECRET_ACCESS_KEY": "b", "BUCKET_NAME": "results",
        }  # fmt: skip
        with run_local(**env) as local:
            body = {**IMAGES, "n": 2, "webhook_url": "https://example.com/hook"}
            job_id = enqueue(local, "/v1/images/generations", body)["id"]
            assert local.end("images", job_id)["status"] == "COMPLETED"
            with local.http() as http:
                found = http.get(f"/v1/jobs/images/{job_id}/download").json()
            assert found["mode"] == "links"
            assert len(found["links"]) == 2
            assert all(link.startswith(f"{store}/results/") for link in found["links"])
            assert len(bucket.kept) == 2


def test_a_download_before_the_end_is_the_status():
    with run_local(0) as local, local.http() as http:
        job_id = enqueue(local, "/v1/embeddings", EMBEDDINGS)["id"]
        early = http.get(f"/v1/jobs/embeddings/{job_id}/download")
        assert early.status_code == 200
        assert early.json() == {"id": job_id, "status": "IN_QUEUE"}


def test_the_direct_routes(local):
    with local.http() as http:
        health = http.get("/v1/runpod/transcribe/health").json()
        assert health["workers"]["ready"] == 1
        done = http.post("/v1/runpod/embeddings/runsync", json={"input": {"input": ["a", "b"]}})
        assert done.json()["status"] == "COMPLETED"
        assert len(done.json()["output"]["data"]) == 2
        bare = http.post(
            "/v1/runpod/embeddings/runsync", json={"inputs": ["a"], "endpointId": " all "}
        )
        assert bare.json()["output"]["object"] == "list"
        job_id = http.post("/v1/runpod/chat/run", json={"input": {"prompt": "Hi"}}).json()["id"]
        local.end("chat", job_id)
        status = http.get(f"/v1/runpod/chat/status/{job_id}?format=txt").json()
        assert status["output"]["choices"][0]["message"]["content"] == "Hi"
        assert http.get(f"/v1/runpod/chat/stream/{job_id}").json()["status"] == "COMPLETED"
        slow = {"input": {"prompt": "x" * 5000}}
        slow_id = http.post("/v1/runpod/chat/run", json=slow).json()["id"]
        assert http.post(f"/v1/runpod/chat/cancel/{slow_id}").json()["status"] == "CANCELLED"
        assert http.post(f"/v1/runpod/chat/retry/{slow_id}").json()["status"] == "IN_QUEUE"
        http.post(f"/v1/runpod/chat/cancel/{slow_id}")
        assert http.post("/v1/runpod/chat/purge-queue").json()["status"] == "completed"
        again = http.post(f"/v1/runpod/chat/retry/{job_id}")
        assert error_of(again, 400)["detail"]["upstream_status"] == 400


def test_a_policy_travels_with_a_direct_job(local):
    with local.http() as http:
        body = {"input": {"prompt": "x"}, "policy": {"executionTimeout": 30_000, "maxCostUsd": 1}}
        job_id = http.post("/v1/runpod/chat/run", json=body).json()["id"]
        bare = {"inputs": ["a"], "policy": {"executionTimeout": 30_000}, "endpointId": "embeddings"}
        bare_id = http.post("/v1/runpod/embeddings/run", json=bare).json()["id"]
    assert local.job("chat", job_id).order.execution_timeout_s == 30
    assert local.end("chat", job_id)["status"] == "COMPLETED"
    # The gateway puts all of a bare body into the input, where RunPod does not look.
    assert local.job("embeddings", bare_id).order.execution_timeout_s == 600
    del bare["endpointId"]
    assert local.job("embeddings", bare_id).order.input == bare
    assert local.end("embeddings", bare_id)["status"] == "COMPLETED"


def test_a_model_beside_a_direct_jobs_input_goes_no_further(local):
    with local.http() as http:
        body = {"input": {"input": ["a"]}, "model": "Nobody"}
        done = http.post("/v1/runpod/embeddings/runsync", json=body).json()
    assert done["status"] == "COMPLETED"
    assert local.job("embeddings", done["id"]).order.input == {"input": ["a"]}


def test_the_front_door_knows_the_surface_of_what_it_hands_on(local):
    """On an endpoint of every surface a body without a mark is for the surface of its route."""
    with local.http() as http:
        for body in ({"input": {"prompt": "hi"}}, {"prompt": "hi"}):
            chat = http.post("/v1/runpod/chat/runsync?endpointId=all", json=body).json()
            assert chat["output"]["choices"][0]["message"]["content"] == "hi"
            picture = http.post("/v1/runpod/images/runsync?endpointId=all", json=body).json()
            assert picture["output"]["data"]


def test_endpoints_of_other_names():
    further = {
        "bge-m3-int8": Served("embeddings", "Fake_Embeddings"),
        "nobodys": Served("embeddings", "Nobody"),
        "talk": Served("chat"),
    }
    with run_local(further=further) as local, local.http() as http:
        queued = enqueue(local, "/v1/embeddings", {**EMBEDDINGS, "model": "fake_embeddings"})
        assert queued["endpoint_id"] == "bge-m3-int8"
        done = local.end("bge-m3-int8", queued["id"])
        assert done["output"]["model"] == "Fake_Embeddings"
        # The gateway looks for a job at its surface's endpoint alone, but for its result.
        assert error_of(http.get(f"/v1/jobs/embeddings/{queued['id']}"), 404)
        named = http.get(f"/v1/jobs/embeddings/{queued['id']}?endpointId=bge-m3-int8")
        assert named.json() == done
        assert http.get(f"/v1/jobs/embeddings/{queued['id']}/download").json() == done
        [frame] = messages(local, f"/v1/jobs/embeddings/{queued['id']}/ws")
        assert frame["payload"] == done
        assert enqueue(local, "/v1/embeddings", EMBEDDINGS)["endpoint_id"] == "embeddings"
        lost = local.end("nobodys", local.run("nobodys", EMBEDDINGS))
        assert json.loads(lost["error"])["code"] == "model_not_found"
        said = local.end("talk", local.run("talk", {"prompt": "hi"}))
        assert said["output"]["choices"][0]["message"]["content"] == "hi"
        direct = {"input": {"prompt": "hi"}, "endpointId": "talk"}
        assert http.post("/v1/runpod/chat/runsync", json=direct).json()["status"] == "COMPLETED"


@pytest.mark.parametrize(
    ("key", "origin", "allowed"),
    [
        (None, "http://localhost:3000", "http://localhost:3000"),
        (None, "http://127.0.0.1:5173", "http://127.0.0.1:5173"),
        (None, "https://example.org", None),
        (None, "http://localhost.example.org", None),
        ("secret", "https://example.org", "*"),
    ],
)
def test_web_pages_may_ask_where_they_can_do_no_harm(key, origin, allowed):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    with run_local(0, key=key) as local, local.http() as http:
        preflight = http.options("/v1/chat/completions", headers={**asked, "Authorization": ""})
        assert preflight.headers.get("access-control-allow-origin") == allowed
        assert (preflight.status_code, preflight.text) == (204, "")
        assert preflight.headers["access-control-allow-headers"] == (
            "Content-Type, Authorization, Accept"
        )
        real = http.get("/v1/nothing", headers={"Origin": origin})
        assert real.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (CHAT, ["job.processing", "job.completed"]),
        ({**CHAT, "max_tokens": 8192, "stop": [""]}, ["job.processing", "job.failed"]),
    ],
)
def test_webhooks_are_signed_and_tried_until_they_are_taken(local, body, events):
    receiver = Receiver(failures=2)
    with serve(receiver.application()) as url:
        job_id = enqueue(local, "/v1/chat/completions", {**body, "webhook_url": f"{url}/hook"})[
            "id"
        ]
        wait_until(lambda: len(receiver.bodies) == 4)
        time.sleep(0.3)
    told = [json.loads(one) for one in receiver.bodies]
    assert [one["event"] for one in told] == [events[0]] * 3 + [events[1]]
    assert told[0]["data"]["result"] == {"id": job_id, "status": "IN_QUEUE"}
    for one in told:
        written = datetime.strptime(one["timestamp"], "%Y-%m-%dT%H:%M:%S.000Z").replace(tzinfo=UTC)
        assert abs(written.timestamp() - time.time()) < 60
    last = told[-1]
    assert last["data"]["job_request_id"] == job_id
    assert last["data"]["surface"] == "chat"
    assert last["data"]["result"]["status"] == last["data"]["status"]
    for content, headers in zip(receiver.bodies, receiver.headers, strict=True):
        signed = headers["X-DeAPI-Timestamp"].encode() + b"." + content
        expected = hmac.new(b"local", signed, hashlib.sha256).hexdigest()
        assert headers["X-DeAPI-Signature"] == f"sha256={expected}"
        assert headers["X-DeAPI-Event"] == json.loads(content)["event"]
        assert abs(int(headers["X-DeAPI-Timestamp"]) - time.time()) < 60
    deliveries = [headers["X-DeAPI-Delivery-Id"] for headers in receiver.headers]
    assert len(set(deliveries)) == 2, "a try is of the same delivery, the next event is another"


def call(local: Local, function: Any, *arguments: Any, **named: Any) -> None:
    """Call into the platform's event loop, and wait."""

    async def run() -> None:
        function(*arguments, **named)

    asyncio.run_coroutine_threadsafe(run(), local.loop).result(10)


@pytest.mark.parametrize(
    ("output", "events"),
    [
        ({"text": "hello"}, ["job.processing", "job.completed"]),
        ([{"text": "hello"}], ["job.processing"]),
        ("hello", ["job.processing"]),
        ({"id": 5}, ["job.processing"]),
    ],
)
def test_an_output_that_is_no_object_is_never_completed(output, events):
    receiver = Receiver()
    with serve(receiver.application()) as url, run_local(0) as local:
        body = {**TRANSCRIBE, "webhook_url": f"{url}/hook"}
        job_id = enqueue(local, "/v1/audio/transcriptions", body)["id"]
        wait_until(lambda: len(receiver.bodies) == 1)
        job = local.job("transcribe", job_id)
        call(local, job_ends, local, job, output)
        wait_until(lambda: len(receiver.bodies) == len(events))
        time.sleep(0.3)
    assert [json.loads(one)["event"] for one in receiver.bodies] == events


def job_ends(local: Local, job: Any, output: Any) -> None:
    local.platform.queues.endpoints[job.endpoint].queue.remove(job)
    local.platform.queues.finish(job, Status.COMPLETED, output=output)


def test_an_address_can_be_tried_with_an_event_of_no_job(local):
    receiver = Receiver()
    with serve(receiver.application()) as url, local.http() as http:
        asked = {"webhook_url": f"{url}/hook", "event": "job.completed", "data": {"a": 1}}
        answer = http.post("/v1/webhooks/test", json=asked).json()
    assert answer["success"] is True
    assert answer["job_id"].startswith("test_")
    [content] = receiver.bodies
    sent = json.loads(content)
    assert (sent["event"], sent["data"]["status"]) == ("job.completed", "COMPLETED")
    assert sent["data"] == {
        "job_request_id": answer["job_id"], "status": "COMPLETED", "surface": "chat",
        "result": {"a": 1},
    }  # fmt: skip


def messages(local: Local, path: str) -> Iterator[dict[str, Any]]:
    address = local.url.replace("http", "ws") + path
    with websocket.connect(address, additional_headers=KEY) as socket:
        yield from map(json.loads, socket)


def test_a_websocket_repeats_the_status_until_the_end(local):
    body = {"messages": [{"role": "user", "content": "Hello " * 10}], "stream": True}
    job_id = enqueue(local, "/v1/chat/completions", body)["id"]
    pushed = list(messages(local, f"/v1/jobs/chat/{job_id}/ws"))
    assert {one["type"] for one in pushed} == {"result"}, "the gateway sends no chunks"
    states = [one["status"] for one in pushed]
    assert states[-1] == "COMPLETED"
    assert states == sorted(states, key=["IN_QUEUE", "IN_PROGRESS", "COMPLETED"].index)
    assert len(states) > len(set(states)), "a state is repeated"
    assert pushed[-1]["mode"] == "inline"
    assert pushed[-1]["payload"] == local.end("chat", job_id)
    content = pushed[-1]["payload"]["output"]["choices"][0]["message"]["content"]
    assert content == "Hello " * 10


def test_a_websocket_shows_progress_that_a_status_carries():
    with run_local(0) as local:
        job_id = enqueue(local, "/v1/images/generations", IMAGES)["id"]
        local.job("images", job_id).output = {"done": 3, "total": 8, "unit": "steps"}
        stream = messages(local, f"/v1/jobs/images/{job_id}/ws")
        assert next(stream)["payload"]["output"] == {"done": 3, "total": 8, "unit": "steps"}
        stream.close()


def test_a_websocket_ends_after_a_minute():
    limits = Limits(socket_pause_s=0.05, socket_polls=3)
    with run_local(0, limits=limits) as local:
        job_id = enqueue(local, "/v1/chat/completions", CHAT)["id"]
        address = local.url.replace("http", "ws") + f"/v1/jobs/chat/{job_id}/ws"
        with websocket.connect(address, additional_headers=KEY) as socket:
            frames = [json.loads(frame) for frame in socket]
            assert [frame["status"] for frame in frames] == ["IN_QUEUE"] * 3
            assert (socket.close_code, socket.close_reason) == (1000, "timeout")


def test_a_large_result_is_pushed_as_an_address(local):
    job_id = enqueue(local, "/v1/embeddings", {"input": ["text"] * 1000})["id"]
    last = list(messages(local, f"/v1/jobs/embeddings/{job_id}/ws"))[-1]
    assert last["mode"] == "download"
    assert last["download_url"].startswith(local.url)
    with local.http() as http:
        assert http.get(last["download_url"]).json()["status"] == "COMPLETED"


def test_a_websocket_without_a_key_is_refused(local):
    address = local.url.replace("http", "ws") + "/v1/jobs/chat/nothing/ws"
    with pytest.raises(InvalidStatus) as denied, websocket.connect(address):
        pass
    assert denied.value.response.status_code == 401
    assert json.loads(denied.value.response.body)["error"]["code"] == "unauthorized"


@pytest.mark.parametrize("path", ["chat/nothing/ws", "chat/nothing/ws?endpointId=nobodys"])
def test_a_websocket_of_an_unknown_job_says_so_and_closes(local, path):
    address = local.url.replace("http", "ws") + f"/v1/jobs/{path}"
    with websocket.connect(address, additional_headers=KEY) as socket:
        frame = json.loads(socket.recv())
        assert frame == {"type": "error", "status": 404, "message": "Status polling failed"}
        with pytest.raises(ConnectionClosedError) as closed:
            socket.recv()
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1011, "status failed")


def test_a_websocket_that_is_left_does_no_harm(local):
    body = {"messages": [{"role": "user", "content": "x" * 100}], "stream": True}
    job_id = enqueue(local, "/v1/chat/completions", body)["id"]
    stream = messages(local, f"/v1/jobs/chat/{job_id}/ws")
    next(stream)
    stream.close()
    assert local.end("chat", job_id)["status"] == "COMPLETED"


def test_websockets_that_are_closed_leave_nothing_behind():
    with run_local(0) as local:
        job_id = enqueue(local, "/v1/chat/completions", CHAT)["id"]
        before = len(asyncio.all_tasks(local.loop))
        for _ in range(10):
            stream = messages(local, f"/v1/jobs/chat/{job_id}/ws")
            assert next(stream)["status"] == "IN_QUEUE"
            stream.close()
        wait_until(lambda: len(asyncio.all_tasks(local.loop)) <= before + 1, 10)


def test_a_websocket_of_no_surface(local):
    address = local.url.replace("http", "ws") + "/v1/jobs/poems/x/ws"
    with (
        pytest.raises(InvalidStatus) as denied,
        websocket.connect(address, additional_headers=KEY),
    ):
        pass
    assert denied.value.response.status_code == 400
    assert json.loads(denied.value.response.body)["success"] is False


def test_openapi_documents_the_front_door(local):
    with local.http() as http:
        document = http.get("/openapi.json", headers={"Authorization": ""}).json()
    assert {path for path, *_ in ROUTES} <= set(document["paths"])
    assert "/v1/jobs/{surface}/{jobId}" in document["paths"]
    assert "BearerAuth" in document["components"]["securitySchemes"]
    chat = document["paths"]["/v1/chat/completions"]["post"]
    assert chat["security"] == [{"BearerAuth": []}]
    schema = chat["requestBody"]["content"]["application/json"]["schema"]["$ref"].split("/")[-1]
    assert "messages" in document["components"]["schemas"][schema]["required"]
    assert {"101", "426"} <= set(
        document["paths"]["/v1/jobs/{surface}/{jobId}/ws"]["get"]["responses"]
    )
    assert {tag["name"] for tag in document["tags"]} >= {"OpenAI-Compatible", "Jobs", "RunPod Jobs"}


def test_states_that_pass_quickly_are_not_missed():
    from local.queue.jobs import Job, Order, Status

    async def watch() -> list[str]:
        job = Job("j", "chat", Order({}, 1, 1), 0.0)
        seen: list[str] = []

        async def follow() -> None:
            async for status in job.states():
                seen.append(status)

        task = asyncio.create_task(follow())
        await asyncio.sleep(0)
        job.status = Status.IN_PROGRESS
        job.touch()
        await asyncio.sleep(0.01)
        job.status = Status.COMPLETED
        job.touch()
        await asyncio.wait_for(task, 1)
        return seen

    assert asyncio.run(watch()) == ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"]

"""Speech at the local platform: the gateway's direct routes, RunPod's routes, its OpenAI proxy."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from local.queue.limits import Limits
from tests.support.receiver import Receiver
from tests.support.running import Local, run_local, wait_until
from tests.support.servers import serve

OPENAI = {"model": "Fake_Speech", "input": "Hello there.", "voice": "tone"}
SISTER = {
    "text": "Hello there.", "mode": "custom_voice", "voice": "tone", "lang": "en-us", "speed": 1,
    "format": "flac", "sample_rate": 24000,
}  # fmt: skip


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with run_local(limits=Limits(webhook_pause_s=0.1)) as one:
        yield one


def direct(local: Local, surface: str, body: dict[str, Any]) -> dict[str, Any]:
    with local.http() as http:
        return http.post(f"/v1/runpod/{surface}/runsync?endpointId=speech", json=body).json()


@pytest.mark.parametrize("surface", ["embeddings", "images", "chat", "transcribe"])
@pytest.mark.parametrize(
    "body",
    [{"input": SISTER}, SISTER, OPENAI, {"input": {"input": "Hello there."}}],
    ids=["wrapped", "bare", "openai, whose input is a text", "no voice"],
)
def test_a_direct_route_reaches_the_endpoint_of_speech_whatever_its_path(local, surface, body):
    done = direct(local, surface, body)
    assert done["status"] == "COMPLETED", done
    wanted = "flac" if "format" in body or "format" in body["input"] else "mp3"
    assert done["output"]["format"] == wanted
    assert base64.b64decode(done["output"]["b64_json"])
    assert not any(
        isinstance(one, str) and one.startswith("http") for one in done["output"].values()
    )


def test_another_endpoint_says_what_the_body_looks_like(local):
    with local.http() as http:
        done = http.post("/v1/runpod/embeddings/runsync", json=OPENAI).json()
    assert done["status"] == "FAILED"
    assert "looks like a request for speech" in json.dumps(done)


def test_the_payload_is_the_download_and_the_webhook_tells_of_it(local):
    receiver = Receiver()
    with serve(receiver.application()) as url, local.http() as http:
        body = {**SISTER, "webhook_url": f"{url}/hook"}
        job_id = http.post("/v1/runpod/images/run?endpointId=speech", json=body).json()["id"]
        assert local.end("speech", job_id)["status"] == "COMPLETED"
        download = http.get(f"/v1/jobs/images/{job_id}/download").json()
        wait_until(lambda: any(b"job.completed" in one for one in receiver.bodies))
    assert base64.b64decode(download["output"]["b64_json"])[:4] == b"fLaC"


def test_events_come_on_the_stream_and_the_output_is_an_object(local):
    body = {**OPENAI, "input": "One. Two. Three.", "stream": True, "response_format": "pcm"}
    job_id = local.run("speech", body)
    done = local.end("speech", job_id)
    with local.http() as http:
        stream = http.get(f"/v2/speech/stream/{job_id}").json()["stream"]
    *deltas, last = [one["output"] for one in stream]
    sound = b"".join(base64.b64decode(one["audio"]) for one in deltas)
    assert last["type"] == "speech.audio.done"
    assert base64.b64decode(done["output"]["b64_json"]) == sound


def test_the_proxy_streams_events_and_answers_with_the_object(local):
    route = "/v2/speech/openai/v1/audio/speech"
    with local.http() as http:
        answer = http.post(route, json=OPENAI).json()
        text = http.post(route, json={**OPENAI, "stream_format": "sse"}).text
        refused = http.post(route, json={**OPENAI, "voice": "nobody"})
    assert answer["format"] == "mp3"
    assert text.count("event: speech.audio.delta\n") == 1
    assert "event: speech.audio.done\n" in text
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "voice_not_found"

"""Music at the local platform: the gateway's direct routes, RunPod's routes, its OpenAI proxy."""

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

SISTER = {
    "caption": "lofi beat", "lyrics": "[Instrumental]", "duration": 10, "bpm": 90,
    "keyscale": "F# minor", "timesignature": 4, "vocal_language": "en", "inference_steps": 8,
    "guidance_scale": 7.5, "seed": 3, "format": "flac",
}  # fmt: skip


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with run_local(limits=Limits(webhook_pause_s=0.1), FAKE_DELAY_S="0.02") as one:
        yield one


def direct(local: Local, surface: str, body: dict[str, Any]) -> dict[str, Any]:
    with local.http() as http:
        return http.post(f"/v1/runpod/{surface}/runsync?endpointId=music", json=body).json()


@pytest.mark.parametrize("surface", ["embeddings", "images", "chat", "transcribe"])
@pytest.mark.parametrize("body", [{"input": SISTER}, SISTER], ids=["wrapped", "bare"])
def test_a_direct_route_reaches_the_endpoint_of_music_whatever_its_path(local, surface, body):
    done = direct(local, surface, body)
    assert done["status"] == "COMPLETED", done
    output = done["output"]
    assert (output["format"], output["seed"], output["duration"]) == ("flac", 3, 10)
    assert base64.b64decode(output["b64_json"])[:4] == b"fLaC"
    assert [one["param"] for one in output["warnings"]] == ["guidance_scale"]
    assert not any(isinstance(one, str) and one.startswith("http") for one in output.values())


@pytest.mark.parametrize("surface", ["images", "embeddings"])
def test_another_endpoint_says_what_the_body_looks_like(local, surface):
    with local.http() as http:
        done = http.post(f"/v1/runpod/{surface}/runsync", json={"input": SISTER}).json()
    assert done["status"] == "FAILED"
    assert "looks like a request for music" in json.dumps(done)


def test_a_worker_of_all_knows_the_body(local):
    job_id = local.run("all", SISTER)
    assert local.end("all", job_id)["output"]["task_type"] == "text2music"


def test_the_payload_is_the_download_and_the_webhook_tells_of_it(local):
    receiver = Receiver()
    with serve(receiver.application()) as url, local.http() as http:
        body = {**SISTER, "webhook_url": f"{url}/hook"}
        job_id = http.post("/v1/runpod/images/run?endpointId=music", json=body).json()["id"]
        assert local.end("music", job_id)["status"] == "COMPLETED"
        download = http.get(f"/v1/jobs/images/{job_id}/download").json()
        wait_until(lambda: any(b"job.completed" in one for one in receiver.bodies))
    assert base64.b64decode(download["output"]["b64_json"])[:4] == b"fLaC"


def test_progress_is_seen_and_a_cancelled_song_ends(local):
    job_id = local.run("music", {**SISTER, "inference_steps": 100})
    seen: list[Any] = []
    wait_until(lambda: seen.append(local.status("music", job_id)) or "output" in seen[-1])
    assert seen[-1]["output"]["unit"] == "steps"
    with local.http() as http:
        http.post(f"/v2/music/cancel/{job_id}")
    assert local.end("music", job_id)["status"] == "CANCELLED"
    after = local.end("music", local.run("music", {**SISTER, "inference_steps": 1}))
    assert after["status"] == "COMPLETED"


def test_ten_minutes_without_a_bucket_come_as_an_mp3_and_flac_is_refused(local):
    body = {**SISTER, "duration": 600, "inference_steps": 1}
    refused = local.end("music", local.run("music", body))
    assert refused["status"] == "FAILED"
    assert "output_too_large" in json.dumps(refused)
    open_form = {name: value for name, value in body.items() if name != "format"}
    done = local.end("music", local.run("music", open_form), 60)
    assert done["status"] == "COMPLETED", done
    output = done["output"]
    assert (output["format"], output["duration"]) == ("mp3", 600)
    assert len(base64.b64decode(output["b64_json"])) > 2_000_000
    assert [one["param"] for one in output["warnings"]] == ["guidance_scale"]


def test_the_proxy_answers_with_the_object(local):
    route = "/v2/music/openai/v1/audio/music"
    with local.http() as http:
        answer = http.post(route, json={**SISTER, "n": 2}).json()
        refused = http.post(route, json={**SISTER, "bpm": 1})
    assert [one["seed"] for one in answer["data"]] == [3, 4]
    assert refused.status_code == 400
    assert refused.json()["error"]["param"] == "bpm"

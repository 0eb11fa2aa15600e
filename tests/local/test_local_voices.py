"""The gateway's endpoint of Qwen3-TTS: a worker with its variables alone, and what its routes send."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Iterator
from typing import Any

import av
import pytest

from local.queue.endpoints import Served
from models.catalog import CATALOG
from tests.conftest import tiny
from tests.support.repositories import snapshot
from tests.support.running import Local, run_local

SLUG = "Qwen3_TTS_12Hz_1_7B_CustomVoice"
REPO, COMMIT = CATALOG.find(SLUG).repo, CATALOG.find(SLUG).weights.partition("@")[2]
GATEWAY = {
    "MODEL_SLUG": SLUG,
    "MODEL_DISPLAY_NAME": "Qwen3 TTS 12Hz 1.7B CustomVoice",
    "MODEL_TASKS": "txt2audio",
    "MODEL_HUGGINGFACE_MODEL": str(REPO),
    "HUGGINGFACE_MODEL": str(REPO),
    "MODEL_OPEN_SOURCE_KIND": "huggingface",
    "MODEL_OPEN_SOURCE_REPO": str(REPO),
    "MODEL_OPEN_SOURCE_REVISION": COMMIT,
    "MODEL_OPEN_SOURCE_ARTIFACT": "model.safetensors",
    "MODEL_OPEN_SOURCE_IMAGE_TAG": f"hf://{REPO}@{COMMIT}#model.safetensors",
    "MODEL_BATCH_WINDOW_SECONDS": "0",
    "MODEL_MAX_BATCH_SIZE": "1",
}
SISTER = {
    "model": SLUG, "text": "Hello there.", "mode": "custom_voice", "voice": "Vivian",
    "lang": "en-us", "speed": 1, "format": "flac", "sample_rate": 24000, "instruct": "Very happy.",
    "seed": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def local(store, tmp_path_factory) -> Iterator[Local]:
    home = tmp_path_factory.mktemp("hub")
    shutil.copytree(
        store.resolve(tiny(SLUG, "qwen-tts")), snapshot(home, str(REPO), COMMIT), dirs_exist_ok=True
    )
    env = {"HF_HOME": str(home), "HF_ENDPOINT": "http://127.0.0.1:9", "FAKE_ENGINES": "0",
           "OMP_NUM_THREADS": "1", **GATEWAY}  # fmt: skip
    with run_local(surfaces=("speech",), further={"voices": Served("speech", SLUG)}, **env) as one:
        yield one


def direct(local: Local, body: dict[str, Any], surface: str = "images") -> dict[str, Any]:
    with local.http() as http:
        route = f"/v1/runpod/{surface}/runsync?endpointId=speech"
        return http.post(route, json=body).json()


def error(done: dict[str, Any]) -> dict[str, Any]:
    assert done["status"] == "FAILED", done
    return json.loads(done["error"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("body", [SISTER, {"input": SISTER}], ids=["bare", "wrapped"])
def test_the_sister_apis_body_is_spoken(local, body):
    output = direct(local, body)["output"]
    assert (output["format"], output["sample_rate"], output["voice"]) == ("flac", 24000, "Vivian")
    assert output["model"] == SLUG
    assert "warnings" not in output, "every field is honoured"
    with av.open(io.BytesIO(base64.b64decode(output["b64_json"]))) as file:
        [stream] = file.streams.audio
        assert (stream.codec_context.name, stream.rate) == ("flac", 24000)
        assert float(stream.duration * stream.time_base) == pytest.approx(output["duration"])


def test_fields_change_the_sound(local):
    def sound(**change: Any) -> str:
        body = {**SISTER, "max_new_tokens": 60, **change}
        return direct(local, body)["output"]["b64_json"]

    first = sound()
    assert first == sound() == sound(voice="vivian", lang="english")
    changes: list[dict[str, Any]] = [
        {"voice": "Ryan"}, {"lang": "auto"}, {"instruct": "Very sad."}, {"seed": 4}, {"speed": 2},
        {"text": "Hello then."},
    ]  # fmt: skip
    assert len({first, *(sound(**one) for one in changes)}) == 1 + len(changes)
    assert base64.b64decode(sound(format="wav", sample_rate=16000))[24:28] == (16000).to_bytes(
        4, "little"
    )


def test_openais_body_is_spoken(local):
    body = {"model": SLUG, "input": "Hello there.", "voice": "alloy", "instructions": "Softly."}
    output = direct(local, body, "embeddings")["output"]
    assert (output["format"], output["voice"]) == ("mp3", "Ryan")
    assert [one["param"] for one in output["warnings"]] == ["voice"]


@pytest.mark.parametrize("mode", ["voice_clone", "voice_design"])
def test_another_checkpoints_modes_are_refused_by_name(local, mode):
    body = {**SISTER, "mode": mode, "ref_audio": "https://example.com/a.wav", "ref_text": "Hi."}
    told = error(direct(local, body))
    assert (told["code"], told["type"]) == ("unsupported_parameter", "invalid_request_error")
    assert told["param"] in {"mode", "ref_audio"}


def test_the_stream_comes_as_it_is_made(local):
    job_id = local.run("speech", {**SISTER, "seed": 6, "stream": True, "format": "pcm"})
    done = local.end("speech", job_id)
    with local.http() as http:
        stream = http.get(f"/v2/speech/stream/{job_id}").json()["stream"]
    *deltas, last = [one["output"] for one in stream]
    assert len(deltas) > 1
    sound = b"".join(base64.b64decode(one["audio"]) for one in deltas)
    assert base64.b64decode(done["output"]["b64_json"]) == sound
    assert last["type"] == "speech.audio.done"

"""The real worker process in the SDK's real loop: what only the loop can show.

The platform's side of it is in ``tests/local/test_local.py`` and ``tests/local/test_local_workers.py``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.conftest import error_of, needs
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE, WAV, check
from tests.support.running import Local, run_local, wait_until


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    """A platform and one worker of all four surfaces."""
    with run_local(CONCURRENCY="16") as one:
        yield one
    output = "\n".join(one.lines)
    assert "Traceback" not in output
    assert "Hello" not in output, "a prompt or an answer was logged"


def test_an_answer_is_the_object_itself(local):
    done = local.end("chat", local.run("chat", CHAT))
    check(ChatCompletion, done["output"])


def test_a_stream_arrives_in_pieces_and_whole(local):
    job_id = local.run("chat", {**CHAT, "stream": True})
    done = local.end("chat", job_id)
    chunks = local.job("chat", job_id).chunks
    whole = check(ChatCompletion, done["output"])
    assert whole.choices[0].message.content == "Hello"
    assert whole.id == chunks[0]["id"]
    assert [chunk["sequence"] for chunk in chunks] == list(range(len(chunks)))
    for chunk in chunks:
        check(ChatCompletionChunk, {key: chunk[key] for key in chunk.keys() - {"sequence"}})
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert said == "Hello"


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("chat", {**CHAT, "n": 2, "logprobs": True, "seed": 1}),
        ("images", {**IMAGES, "n": 2, "seed": 1}),
        ("transcribe", TRANSCRIBE),
        ("transcribe", {**TRANSCRIBE, "response_format": "vtt"}),
        ("transcribe", {**TRANSCRIBE, "response_format": "verbose_json"}),
    ],
)
def test_the_output_of_a_streamed_job_is_that_of_one_without(local, endpoint, body):
    """The gateway takes a job for done only when its output is an object."""
    formats = {"srt", "vtt"}
    stream = {**body, "stream": True}
    if body.get("response_format") in formats:
        stream = body
    plain, streamed = (
        local.end(endpoint, local.run(endpoint, one))["output"] for one in (body, stream)
    )
    assert isinstance(streamed, dict)
    for moving in ("id", "created"):
        plain.pop(moving, None)
        streamed.pop(moving, None)
    assert streamed == plain


def test_nothing_of_a_client_is_logged_at_any_level():
    """The SDK formats every answer and every event for its log of DEBUG."""
    secret = "hidden-words"
    bodies = {
        "chat": {"messages": [{"role": "user", "content": secret}]},
        "images": {**IMAGES, "prompt": secret},
        "transcribe": {**TRANSCRIBE, "prompt": secret},
        "embeddings": {"input": secret},
    }
    with run_local(CONCURRENCY="16", RUNPOD_LOG_LEVEL="DEBUG") as local:
        for endpoint, body in bodies.items():
            for job in (
                body,
                {**body, "stream": True},
                {"openai_route": ROUTES[endpoint], "openai_input": body},
                {"openai_route": ROUTES[endpoint], "openai_input": {**body, "stream": True}},
            ):
                if endpoint == "embeddings" and (job.get("stream") or "stream" in str(job)):
                    continue
                done = local.end(endpoint, local.run(endpoint, job))
                assert done["status"] == "COMPLETED", done
        lines = "\n".join(local.lines)
    assert "DEBUG" in lines
    assert secret not in lines
    assert "12 bytes" not in lines, "a transcript was logged"
    assert "b64_json" not in lines


ROUTES = {
    "chat": "/v1/chat/completions",
    "images": "/v1/images/generations",
    "transcribe": "/v1/audio/transcriptions",
    "embeddings": "/v1/embeddings",
}


def test_a_stream_on_the_openai_route_is_sse(local):
    body = {"openai_route": "/v1/chat/completions", "openai_input": {**CHAT, "stream": True}}
    job_id = local.run("all", body)
    local.end("all", job_id)
    text = "".join(local.job("all", job_id).chunks)
    assert text.endswith("data: [DONE]\n\n")
    events = [event.split("\ndata: ") for event in text.split("\n\n")[:-1]]
    assert [number for number, _ in events] == [f"id: {n}" for n in range(len(events))]
    assert all(json.loads(content) for _, content in events[:-1])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"foo": 1}, "surface_unknown"),
        ({**CHAT, "temperature": 9}, "invalid_value"),
        ({**CHAT, "max_tokens": "many"}, "invalid_type"),
    ],
)
def test_errors_arrive_as_a_string(local, body, code, stream):
    done = local.end("all", local.run("all", {**body, "stream": stream}))
    error = error_of({"error": done["error"]})
    assert error["type"] == "invalid_request_error"
    assert error["code"] == code
    assert "output" not in done or stream


PIXEL = "data:image/png;base64,iVBORw0KGgo="
REFUSED_BY_NAME = [
    (
        "images",
        {"prompt": "waves", "first_frame_image": PIXEL, "frames": 49, "fps": 24},
        {"first_frame_image", "frames", "fps"},
    ),
    (
        "images",
        {"prompt": "a", "audio": True, "num_frames": 9},
        {"audio", "num_frames"},
    ),
    ("embeddings", {"input": "a", "normalize": False}, {"normalize"}),
]


@pytest.mark.parametrize(("surface", "body", "params"), REFUSED_BY_NAME)
def test_what_is_asked_in_vain_is_refused_by_name(local, surface, body, params):
    done = local.end(surface, local.run(surface, body))
    assert done["status"] == "FAILED"
    error = error_of({"error": done["error"]})
    assert error["code"] == "unsupported_parameter"
    assert error["param"] in params


def test_what_clients_of_other_apis_send_is_understood(local):
    """Through the loop: a picture to work on, few tokens, times, texts, a bare prompt's surface."""
    plain = local.end("images", local.run("images", {"prompt": "a", "seed": 1}))
    worked_on = {"prompt": "a", "seed": 1, "images": [PIXEL]}
    done = local.end("images", local.run("images", worked_on))
    assert done["output"]["data"] != plain["output"]["data"]
    told = local.end("images", local.run("images", {"prompt": "a", "negative_prompt": "b"}))
    assert told["output"]["warnings"][0]["param"] == "negative_prompt"
    chat = local.end("chat", local.run("chat", {**CHAT, "max_new_tokens": 4}))
    assert chat["output"]["usage"]["completion_tokens"] == 4
    times = local.end("all", local.run("all", {"video_url": WAV, "include_ts": True}))
    assert times["output"]["segments"][0]["end"] == 1.0
    texts = local.end("all", local.run("all", {"texts": ["a"], "return_result_in_response": True}))
    assert len(texts["output"]["data"]) == 1


@needs("All_MiniLM_L6_v2")
def test_an_embeddings_worker_is_ready_and_imports_only_what_it_needs():
    """With the real default model: preloaded, one surface's libraries, the light SDK import."""
    env = {"FAKE_ENGINES": "0", "PYTHONPROFILEIMPORTTIME": "1"}
    with run_local(surfaces=("embeddings",), **env) as local:
        done = local.end("embeddings", local.run("embeddings", EMBEDDINGS), 120)
        assert len(done["output"]["data"][0]["embedding"]) == 384
        assert done["output"]["model"] == "All_MiniLM_L6_v2"
        wait_until(lambda: any("ready after" in line for line in local.lines))
    imported = {line.rpartition("|")[2].strip() for line in local.lines if "import time" in line}
    assert {"torch", "tokenizers", "runpod"} <= imported
    unused = {"sentence_transformers", "transformers", "scipy", "sympy", "diffusers"}
    unused |= {"ctranslate2", "faster_whisper", "cpuinfo", "paramiko", "boto3.session"}
    assert not unused & imported


def test_a_model_that_cannot_be_had_fails_its_jobs_clearly_and_the_worker_lives():
    env = {"MODEL_SLUG": "Llama3_8B_Instruct", "FAKE_ENGINES": "0", "MEMORY_BUDGET_GB": "80"}
    with run_local(surfaces=("chat",), HF_TOKEN="", **env) as local:
        for _ in range(2):
            done = local.end("chat", local.run("chat", CHAT), 60)
            error = error_of({"error": done["error"]})
            assert error["code"] == "weights_gated"
            assert "HF_TOKEN" in error["message"]
            assert done["workerId"] == "worker-1"

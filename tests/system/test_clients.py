"""The ``openai`` and ``runpod`` packages, as they are, at both doors: the queue's and the worker's."""

from __future__ import annotations

import base64
import io
import struct
from collections.abc import Iterator
from typing import Any

import openai
import pytest
import runpod
from openai.types import (
    CreateEmbeddingResponse,
    ImageEditCompletedEvent,
    ImageEditPartialImageEvent,
    ImageGenCompletedEvent,
    ImageGenPartialImageEvent,
    ImagesResponse,
)
from openai.types.audio import Transcription, TranscriptionDiarized
from openai.types.chat import ChatCompletion

from tests.conftest import ROOT, error_of
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE, WAV, check
from tests.support.running import Local, run_local, serve_worker

MESSAGES = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with run_local(FAKE_DELAY_S="0.005", CONCURRENCY="16") as one:
        yield one


@pytest.fixture(scope="module")
def door() -> Iterator[str]:
    """The worker's own HTTP door."""
    with serve_worker() as url:
        yield url


@pytest.fixture(params=["queue", "door"])
def base_url(request, local, door) -> str:
    return f"{local.url}/v2/all/openai/v1" if request.param == "queue" else f"{door}/v1"


@pytest.fixture
def client(base_url) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=base_url, api_key="any", max_retries=0) as one:
        yield one


# openai ------------------------------------------------------------------------------------------


def test_chat(client):
    completion = client.chat.completions.create(model="Fake_Chat", messages=MESSAGES)
    assert completion.choices[0].message.content == "Hello"
    assert completion.usage.total_tokens == 11


def test_chat_streams(client):
    stream = client.chat.completions.create(
        model="Fake_Chat", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    said = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert said == "Hello"
    assert chunks[-1].usage.completion_tokens == 5


@pytest.mark.anyio
async def test_chat_and_embeddings_asynchronously(base_url):
    async with openai.AsyncOpenAI(base_url=base_url, api_key="any") as client:
        stream = await client.chat.completions.create(
            model="Fake_Chat", messages=MESSAGES, stream=True
        )
        said = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
        assert said == "Hello"
        answer = await client.embeddings.create(model="Fake_Embeddings", input=["a", "b"])
        assert [one.index for one in answer.data] == [0, 1]


def test_completions(client):
    answer = client.completions.create(model="Fake_Chat", prompt=["Hello", "Hi"], echo=True)
    assert [choice.text for choice in answer.choices] == ["HelloHello", "HiHi"]
    assert answer.usage.prompt_tokens == 9
    stream = client.completions.create(model="Fake_Chat", prompt="Hello", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "Hello"


def test_embeddings_as_the_package_asks_for_them(client):
    """It asks for base64 and gives numbers."""
    answer = client.embeddings.create(model="Fake_Embeddings", input="Hello")
    plain = client.embeddings.create(
        model="Fake_Embeddings", input="Hello", encoding_format="float"
    )
    assert answer.data[0].embedding == pytest.approx(plain.data[0].embedding)
    raw = client.embeddings.create(model="Fake_Embeddings", input="Hello", encoding_format="base64")
    packed = base64.b64decode(raw.data[0].embedding)
    assert list(struct.unpack("<8f", packed)) == pytest.approx(answer.data[0].embedding)


def test_images_stream(client):
    asked = {"model": "Fake_Images", "prompt": "A fox", "stream": True, "partial_images": 2}
    events = list(client.images.generate(**asked))
    expected = [ImageGenPartialImageEvent] * 2 + [ImageGenCompletedEvent]
    assert [type(event) for event in events] == expected
    assert all(base64.b64decode(one.b64_json).startswith(b"\x89PNG") for one in events)


def test_images(client):
    answer = client.images.generate(model="Fake_Images", prompt="A fox", n=2, size="256x256")
    assert len(answer.data) == 2
    assert base64.b64decode(answer.data[0].b64_json).startswith(b"\x89PNG")


def test_models(client):
    assert {model.id for model in client.models.list()} >= {"Fake_Chat", "Fake_Embeddings"}
    assert client.models.retrieve("Fake_Chat").owned_by == "quartet"


@pytest.mark.parametrize(
    ("kind", "code", "fields"),
    [
        (openai.BadRequestError, "invalid_value", {"temperature": 1.9, "top_p": 9}),
        (openai.NotFoundError, "model_not_found", {"model": "nobody"}),
        (openai.BadRequestError, "unsupported_parameter", {"service_tier": "flex"}),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_errors_have_their_status_and_code(client, kind, code, fields, stream):
    body: dict[str, Any] = {"model": "Fake_Chat", "messages": MESSAGES, "stream": stream, **fields}
    with pytest.raises(kind) as refused:
        client.chat.completions.create(**body)
    assert refused.value.code == code
    assert refused.value.body["param"] in fields


def test_a_wrong_route_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as refused:
        client.moderations.create(input="x")
    assert refused.value.code == "unknown_url"


def test_transcription_with_a_file_at_the_workers_door(door):
    with openai.OpenAI(base_url=f"{door}/v1", api_key="any", max_retries=0) as client:
        sound = io.BytesIO(base64.b64decode(WAV.partition(",")[2]))
        sound.name = "speech.wav"
        plain = client.audio.transcriptions.create(model="Fake_Transcribe", file=sound)
        assert plain.text == "12 bytes"
        sound.seek(0)
        verbose = client.audio.transcriptions.create(
            model="Fake_Transcribe", file=sound, response_format="verbose_json",
            timestamp_granularities=["word", "segment"], temperature=0.5, language="en",
        )  # fmt: skip
        assert verbose.words[0].word == "12 bytes"
        sound.seek(0)
        text = client.audio.transcriptions.create(
            model="Fake_Transcribe", file=sound, response_format="text"
        )
        assert text.strip() == "12 bytes"
        sound.seek(0)
        with pytest.warns(
            DeprecationWarning, match="deprecated"
        ):  # the package's own, of its newest release
            translated = client.audio.translations.create(model="Fake_Transcribe", file=sound)
        assert translated.text == "12 bytes"


def test_streams_and_speakers_of_a_file_at_the_workers_door(door):
    with openai.OpenAI(base_url=f"{door}/v1", api_key="any", max_retries=0) as client:
        sound = ("speech.wav", base64.b64decode(WAV.partition(",")[2]))
        asked = {"model": "Fake_Transcribe", "file": sound}
        create = client.audio.transcriptions.create
        *deltas, done = create(**asked, stream=True, include=["logprobs"])
        assert "".join(one.delta for one in deltas) == done.text == "12 bytes"
        assert done.logprobs[0].logprob == deltas[0].logprobs[0].logprob == -0.1
        speakers = {
            "response_format": "diarized_json",
            "chunking_strategy": "auto",
            "known_speaker_names": ["Ada"],
            "known_speaker_references": [WAV],
        }
        diarized = create(**asked, extra_body={}, **speakers)
        assert isinstance(diarized, TranscriptionDiarized)
        assert [one.speaker for one in diarized.segments] == ["Ada"]
        kinds = [event.type for event in create(**asked, stream=True, **speakers)]
        assert kinds == [f"transcript.text.{one}" for one in ("delta", "segment", "done")]


def test_edits_with_a_file_at_the_workers_door(door):
    with openai.OpenAI(base_url=f"{door}/v1", api_key="any", max_retries=0) as client:
        picture = ("fox.png", b"not decoded by the fake", "image/png")
        answer = client.images.edit(
            model="Fake_Images", image=picture, prompt="bluer", n=2, size="256x256"
        )
        assert len(answer.data) == 2
        stream = client.images.edit(
            model="Fake_Images", image=picture, prompt="x", stream=True, partial_images=1
        )
        expected = [ImageEditPartialImageEvent, ImageEditCompletedEvent]
        assert [type(event) for event in stream] == expected
        masked = client.images.edit(model="Fake_Images", image=picture, mask=picture, prompt="x")
        assert len(masked.data) == 1
        with pytest.raises(openai.BadRequestError) as refused:
            client.images.edit(
                model="Fake_Images", image=picture, prompt="x", background="transparent"
            )
        assert refused.value.body["param"] == "background"


def test_a_file_through_the_queue_is_refused_with_a_way_out(local):
    url = f"{local.url}/v2/transcribe/openai/v1"
    with openai.OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        with pytest.raises(openai.BadRequestError, match="audioUrl"):
            client.audio.transcriptions.create(model="x", file=("a.wav", b"1234"))
        # the same route with the file in JSON is carried
        answer = client.post("/audio/transcriptions", cast_to=Transcription, body={"audioUrl": WAV})
        assert answer.text == "12 bytes"


def test_a_wrong_key_at_the_proxy():
    with run_local(0, key="right") as local:
        url = f"{local.url}/v2/chat/openai/v1"
        with openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client:
            with pytest.raises(openai.AuthenticationError):
                client.chat.completions.create(model="x", messages=MESSAGES)


# runpod ------------------------------------------------------------------------------------------


@pytest.fixture
def endpoint(local, monkeypatch) -> runpod.Endpoint:
    monkeypatch.setattr(runpod, "endpoint_url_base", f"{local.url}/v2")
    return runpod.Endpoint("all", api_key="any")


@pytest.mark.parametrize("body", [CHAT, IMAGES, TRANSCRIBE, EMBEDDINGS])
def test_run_and_run_sync(endpoint, body):
    job = endpoint.run(body)
    output = job.output(timeout=20)
    assert job.status() == "COMPLETED"
    again = endpoint.run_sync(body, timeout=20)
    assert set(output) == set(again)


def test_stream(endpoint):
    chunks = list(endpoint.run({"input": {**CHAT, "stream": True}}).stream())
    said = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
    assert said == "Hello"


def test_cancel(endpoint):
    job = endpoint.run({"messages": [{"role": "user", "content": "x" * 3000}]})
    assert job.cancel()["status"] == "CANCELLED"
    assert job.status() == "CANCELLED"


def test_health_and_purge(endpoint):
    assert endpoint.health()["workers"]["ready"] == 1
    assert endpoint.purge_queue()["status"] == "completed"


def test_a_wrong_key(monkeypatch):
    with run_local(0, key="right") as local:
        monkeypatch.setattr(runpod, "endpoint_url_base", f"{local.url}/v2")
        with pytest.raises(RuntimeError, match="401"):
            runpod.Endpoint("all", api_key="wrong").health()


# The tiny models, once ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Iterator[Local]:
    with run_local(FAKE_ENGINES="0") as one:
        yield one


@pytest.mark.parametrize(
    ("surface", "body", "kind"),
    [
        ("chat", {**CHAT, "max_tokens": 8, "temperature": 0}, ChatCompletion),
        ("images", {"prompt": "A fox", "size": "128x128", "steps": 1, "seed": 7}, ImagesResponse),
        ("transcribe", None, Transcription),
        ("embeddings", {"input": ["Hello", "world"]}, CreateEmbeddingResponse),
    ],
)
def test_each_surface_with_real_engines(real, surface, body, kind):
    if body is None:
        import json

        body = json.loads((ROOT / "examples/transcribe.json").read_text())["input"]
        body["response_format"] = "json"
    done = real.end(surface, real.run(surface, body), 120)
    assert done["status"] == "COMPLETED", done
    ours = {"model", "seed", "width", "height", "duration", "language_code", "language_probability"}
    check(kind, done["output"], ours)


def test_an_error_of_a_real_engine(real):
    long = {"input": "word " * 5000}
    done = real.end("embeddings", real.run("embeddings", long), 60)
    assert error_of({"error": done["error"]})["code"] == "context_length_exceeded"

"""Every form, field and range of the gateway's contract, against fake engines."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import Transcription, TranscriptionVerbose
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from handler.contract import SURFACES
from tests.conftest import decoded, error_of
from tests.support.bodies import (
    CHAT,
    EMBEDDINGS,
    IMAGES,
    MALFORMED,
    TRANSCRIBE,
    WAV,
    chat,
    check,
    embeddings,
    message,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("surface", "body"),
    [
        ("chat", CHAT),
        ("images", IMAGES),
        ("transcribe", TRANSCRIBE),
        ("embeddings", EMBEDDINGS),
        ("transcribe", {**TRANSCRIBE, "prompt": "Names: Ada"}),
        ("transcribe", {"video_url": WAV}),
        ("transcribe", {"audio_url": WAV, "prompt": "Names: Ada"}),
        ("embeddings", {"texts": ["a"]}),
        ("images", {"images": [WAV]}),
        ("images", {"image": {"url": WAV}}),
        ("images", {"image": WAV, "prompt": "as a drawing"}),
    ],
)
async def test_every_form_finds_its_surface(worker, surface, body):
    route = SURFACES[surface].routes[0]
    forms = [
        {"id": "j", "input": body},
        {"id": "j", "input": {**body, "surface": surface}},
        {"id": "j", "input": {"input": body, "policy": {"executionTimeout": 60000}}},
        {"id": "j", "input": {"surface": surface, "input": body}},
        {"id": "j", "input": body, "policy": {"executionTimeout": 60000}, "webhook": "https://x.y"},
        {"id": "j", "input": {"openai_route": route, "openai_input": body}},
        {"id": "j", "input": {"openai_route": route.removeprefix("/v1"), "openai_input": body}},
        {
            "id": "j",
            "input": {**body, "webhook_url": "https://x.y", "worker_type": "a", "job_id": 1},
        },
    ]
    for job in forms:
        task = worker.accept(job)
        assert task.surface.name == surface
        assert task.row.surface == surface


@pytest.mark.parametrize("given", ["Hello", ["Hello", "world"]])
async def test_a_body_that_a_client_sent_as_the_job_itself(worker, given):
    """``runpod.Endpoint.run({"input": …})`` takes that for a job and does not wrap it."""
    answer = decoded(await worker.answer({"id": "j", "input": given}))
    assert len(answer["data"]) == (1 if given == "Hello" else 2)


async def test_chat_answer(worker):
    answer = decoded(await worker.answer({"id": "j", "input": CHAT}))
    completion = check(ChatCompletion, answer)
    assert completion.choices[0].message.content == "Hello"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.prompt_tokens == 6
    assert completion.usage.total_tokens == 11
    assert completion.model == "Fake_Chat"


async def test_chat_stream(worker):
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    assert worker.accept({"id": "j", "input": body}).streams
    events = [event async for event in worker.stream({"id": "j", "input": body})]
    chunks = [check(ChatCompletionChunk, event) for event in events]
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert text == "Hello"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 5
    assert len({chunk.id for chunk in chunks}) == 1


async def test_chat_stream_on_the_openai_route_is_sse(worker):
    job = {
        "id": "j",
        "input": {
            "openai_route": "/v1/chat/completions",
            "openai_input": {**CHAT, "stream": True},
        },
    }
    events = [event async for event in worker.stream(job)]
    assert all(event.startswith("data: ") and event.endswith("\n\n") for event in events)
    assert events[-1] == "data: [DONE]\n\n"
    import json

    for event in events[:-1]:
        check(ChatCompletionChunk, json.loads(event.removeprefix("data: ")))


async def test_chat_content_parts_developer_role_and_bare_prompt(worker, make_worker):
    parts = [{"type": "text", "text": "Hel"}, {"type": "text", "text": "lo"}]
    body = {"messages": [{"role": "developer", "content": "A"}, {"role": "user", "content": parts}]}
    answer = decoded(await worker.answer({"id": "j", "input": body}))
    assert answer["choices"][0]["message"]["content"] == "A\nHello"
    job = {"id": "j", "input": {"input": {"prompt": "Hi"}}}
    answer = decoded(await make_worker(SURFACE="chat").answer(job))
    assert answer["choices"][0]["message"]["content"] == "Hi"


async def test_images_answer(worker):
    body = {"prompt": "x", "n": 3, "size": "128x64", "seed": 5, "model": "Fake_Images"}
    answer = decoded(await worker.answer({"id": "j", "input": body}))
    images = check(ImagesResponse, answer, {"seed", "width", "height", "model"})
    assert [image.model_extra["seed"] for image in images.data] == [5, 6, 7]
    import io

    from PIL import Image

    for image in images.data:
        assert image.url is None
        assert Image.open(io.BytesIO(base64.b64decode(image.b64_json))).size == (128, 64)


@pytest.mark.parametrize("alias", [{"width": 320, "height": 192}, {"size": "320x192"}])
async def test_images_sizes(worker, alias):
    answer = decoded(await worker.answer({"id": "j", "input": {"prompt": "x", **alias}}))
    assert (answer["data"][0]["width"], answer["data"][0]["height"]) == (320, 192)


async def test_transcription_answers(worker):
    async def ask(**fields: Any) -> Any:
        return decoded(await worker.answer({"id": "j", "input": {**TRANSCRIBE, **fields}}))

    plain = check(
        Transcription, await ask(),
        {"duration", "language_code", "language_probability", "model"},
    )  # fmt: skip
    assert plain.languages[0].code == "en"
    assert plain.text == "12 bytes"
    assert plain.usage.seconds == 1
    verbose = check(
        TranscriptionVerbose,
        await ask(response_format="verbose_json", timestamp_granularities=["word", "segment"]),
        {"task", "language_code", "language_probability", "model"},
    )
    assert verbose.language == "english"
    assert verbose.segments[0].id == 0
    assert verbose.words[0].word == "12 bytes"
    texts = {
        "text": "12 bytes",
        "srt": "1\n00:00:00,000 --> 00:00:01,000\n12 bytes\n\n",
        "vtt": "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n12 bytes\n\n",
    }
    for format_, text in texts.items():
        # Who reads a job's output expects an object; OpenAI's clients the text itself.
        held = await ask(response_format=format_)
        assert (held["text"], held["format"], held["model"]) == (text, format_, "Fake_Transcribe")
        body = {**TRANSCRIBE, "response_format": format_}
        job = {"openai_route": "/v1/audio/transcriptions", "openai_input": body}
        assert decoded(await worker.answer({"id": "j", "input": job})) == text
    for language in ("de-AT", "de", "German"):
        german = await ask(response_format="verbose_json", language=language)
        assert (german["language"], german["language_code"]) == ("german", "de")
    route = {"openai_route": "/v1/audio/translations", "openai_input": dict(TRANSCRIBE)}
    route["openai_input"]["response_format"] = "verbose_json"
    assert (decoded(await worker.answer({"id": "j", "input": route})))["task"] == "translate"


async def test_embeddings_answers(worker):
    texts = ["abc", "Grüße", "日本"]
    answer = decoded(await worker.answer({"id": "j", "input": {"input": texts}}))
    floats = check(CreateEmbeddingResponse, answer)
    assert [one.index for one in floats.data] == [0, 1, 2]
    assert floats.usage.prompt_tokens == 3 + 7 + 6
    packed = decoded(
        await worker.answer({"id": "j", "input": {"input": texts, "encoding_format": "base64"}})
    )
    for number, one in zip(floats.data, packed["data"], strict=True):
        raw = base64.b64decode(one["embedding"])
        assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(number.embedding)


async def test_an_unknown_key_called_input_is_left_aside(worker):
    answer = decoded(await worker.answer({"id": "j", "input": {**CHAT, "input": {"meta": 1}}}))
    assert answer["object"] == "chat.completion"


async def test_models_route(worker):
    for empty in ({}, {"openai_input": {}}, {"openai_input": None}):
        answer = decoded(
            await worker.answer({"id": "j", "input": {"openai_route": "/v1/models", **empty}})
        )
        assert next(one["id"] for one in answer["data"]) == "Fake_Chat"
    one = decoded(await worker.answer({"id": "j", "input": {"openai_route": "models/fake_images"}}))
    assert one["id"] == "Fake_Images"
    job = {"id": "j", "input": {"openai_route": "/v1/models/nobody"}}
    assert error_of(await worker.answer(job))["code"] == "model_not_found"


@pytest.mark.parametrize(("job", "code", "param"), MALFORMED)
async def test_malformed_jobs_get_a_clear_error(worker, job, code, param):
    error = error_of(await worker.answer(job))
    assert (error["code"], error["param"]) == (code, param)
    assert error["type"] == "invalid_request_error"
    assert "Traceback" not in error["message"]
    assert "http" not in error["message"].replace("http or https", "").replace("http(s)", "")


@pytest.mark.parametrize(
    "neutral",
    [
        {"n": 1}, {"logprobs": False}, {"top_logprobs": 0}, {"presence_penalty": 0},
        {"frequency_penalty": 0.0}, {"tools": []}, {"response_format": {"type": "text"}},
        {"logit_bias": {}}, {"tools": None, "n": None, "stop": None, "seed": None},
        {"temperature": 1, "store": False, "service_tier": "auto"},
    ],
)  # fmt: skip
async def test_neutral_values_change_nothing(worker, neutral):
    answer = decoded(await worker.answer(chat(**neutral)))
    assert answer["choices"][0]["message"]["content"] == "Hello"


async def test_errors_name_the_limit_and_what_was_got(worker):
    message_ = error_of(await worker.answer(chat(temperature=3.5)))["message"]
    assert message_ == "temperature: must be less than or equal to 2; got 3.5."
    message_ = error_of(await worker.answer(chat(stop=list("abcde"))))["message"]
    assert message_ == "stop: must have at most 4 items; got a list of 5."
    message_ = error_of(await worker.answer(message(content=[])))["message"]
    assert message_ == "messages[0].content: must have at least 1 item; got an empty list."
    message_ = error_of(await worker.answer(embeddings(input="\ud800")))["message"]
    assert message_ == "input: must be text that UTF-8 can hold; got a string of 1 characters."
    message_ = error_of(await worker.answer(chat(model="gpt-4o")))["message"]
    assert "'gpt-4o'" in message_
    assert "Fake_Chat" in message_


async def test_errors_never_repeat_content(worker):
    secret = "the prompt that must not come back"
    bodies = [
        {"messages": [{"role": "user", "content": {"text": secret}}]},
        {"messages": secret},
        {"prompt": [secret]},
        {"input": {"a": secret}},
        {"audioUrl": f"https://user:{secret.replace(' ', '')}@[broken"},
    ]
    for body in bodies:
        for surface in ("chat", "images", "transcribe", "embeddings"):
            answer = decoded(await worker.answer({"input": {**body, "surface": surface}}))
            assert secret not in str(answer)
            assert secret.replace(" ", "") not in str(answer)


async def test_stop_strings_and_length(worker):
    body = {"messages": [{"role": "user", "content": "one two three"}]}
    answer = decoded(await worker.answer({"input": {**body, "stop": [" three", "two"]}}))
    assert answer["choices"][0]["message"]["content"] == "one "
    assert answer["choices"][0]["finish_reason"] == "stop"
    answer = decoded(await worker.answer({"input": {**body, "max_completion_tokens": 5}}))
    assert answer["choices"][0]["message"]["content"] == "one t"
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_whole_characters_only(worker):
    text = "héllo 日本 👩‍🚀"
    job = {"input": {"messages": [{"role": "user", "content": text}], "stream": True}}
    pieces = [e["choices"][0]["delta"].get("content", "") async for e in worker.stream(job)]
    assert "".join(pieces) == text
    assert "\ufffd" not in "".join(pieces)

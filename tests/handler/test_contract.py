"""Every form, field and range of the gateway's contract, against fake engines."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest
from openai.types import CreateEmbeddingResponse, ImagesResponse
from openai.types.audio import Transcription, TranscriptionVerbose
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from handler.contract import SURFACES
from tests.conftest import decoded, error_of

pytestmark = pytest.mark.anyio

WAV = "data:audio/wav;base64," + base64.b64encode(b"RIFF0000WAVE").decode()
CHAT = {"messages": [{"role": "user", "content": "Hello"}]}
IMAGES = {"prompt": "A red fox"}
TRANSCRIBE = {"audioUrl": WAV}
EMBEDDINGS = {"input": "Hello"}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def check(model: type[BaseModel], answer: Any, extensions: set[str] = frozenset()) -> Any:
    """Validate strictly, and let nothing unknown through but the documented extensions."""
    parsed = model.model_validate(answer, strict=True)

    def extras(value: Any) -> set[str]:
        found: set[str] = set()
        if isinstance(value, BaseModel):
            found |= set(value.model_extra or {})
            for name in type(value).model_fields:
                found |= extras(getattr(value, name))
        elif isinstance(value, list):
            for one in value:
                found |= extras(one)
        return found

    assert extras(parsed) <= extensions | {"notice"}
    return parsed


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


def chat(**fields: Any) -> dict[str, Any]:
    return {"input": {**CHAT, **fields}}


def message(**fields: Any) -> dict[str, Any]:
    return {"input": {"messages": [{"role": "user", "content": "x", **fields}]}}


def images(**fields: Any) -> dict[str, Any]:
    return {"input": {**IMAGES, **fields}}


def transcribe(**fields: Any) -> dict[str, Any]:
    return {"input": {**TRANSCRIBE, **fields}}


def rerank(**fields: Any) -> dict[str, Any]:
    return {"input": {"query": "a", "documents": ["b", "c"], **fields}}


def embeddings(**fields: Any) -> dict[str, Any]:
    return {"input": {**EMBEDDINGS, **fields}}


MALFORMED = [
    (None, "job_invalid", None),
    ([], "job_invalid", None),
    ({}, "job_invalid", None),
    ({"input": None}, "job_invalid", None),
    ({"input": 5}, "job_invalid", None),
    ({"input": [5.5]}, "invalid_type", "input[0]"),
    ({"input": ""}, "invalid_value", "input"),
    ({"input": {}}, "surface_unknown", "surface"),
    ({"input": {"foo": 1}}, "surface_unknown", "surface"),
    ({"input": {"messages": None}}, "surface_unknown", "surface"),
    ({"input": {**CHAT, **IMAGES}}, "surface_ambiguous", "surface"),
    ({"input": {**CHAT, **EMBEDDINGS}}, "surface_ambiguous", "surface"),
    ({"input": {**TRANSCRIBE, **EMBEDDINGS}}, "surface_ambiguous", "surface"),
    ({"input": {**CHAT, "surface": "video"}}, "surface_unknown", "surface"),
    ({"input": {**CHAT, "surface": 3}}, "surface_unknown", "surface"),
    ({"input": {"openai_route": "/v1/nothing", "openai_input": {}}}, "unknown_url", "openai_route"),
    ({"input": {"openai_route": 7}}, "job_invalid", None),
    ({"input": {"openai_route": "/v1/embeddings", "openai_input": {}}}, "missing_required_parameter", "input"),
    ({"input": {"openai_route": "/v1/embeddings", "openai_input": []}}, "job_invalid", None),
    ({"input": CHAT, "policy": 0}, "invalid_value", "policy"),
    (chat(metadata={}, parallel_tool_calls="x"), "invalid_type", "parallel_tool_calls"),
    (message(name=""), "invalid_value", "messages[0].name"),
    (message(audio={"id": "a"}), "unsupported_parameter", "messages[0].audio"),
    (message(content=[{"type": "image_url", "image_url": {"url": "x"}}]), "unsupported_parameter", "messages[0].content[0]"),
    (message(tool_calls=[{}]), "missing_required_parameter", "messages[0].tool_calls[0].id"),
    (message(tool_calls=[CALLED]), "invalid_value", "messages[0].tool_calls"),
    (message(role="assistant", tool_calls=[{**CALLED, "function": {"name": "f", "arguments": ["{"]}}]), "invalid_type", "messages[0].tool_calls[0].function.arguments"),
    (images(output_compression=50), "unsupported_parameter", "output_compression"),
    (images(svg=True), "unsupported_parameter", "svg"),
    (transcribe(chunking_strategy="some"), "invalid_value", "chunking_strategy"),
    (transcribe(chunking_strategy={"type": "x"}), "invalid_value", "chunking_strategy"),
    (transcribe(vad_parameters={"treshold": 0.5}), "invalid_value", "vad_parameters.treshold"),
    (transcribe(language="en", languages=["en"]), "invalid_value", "languages"),
    (transcribe(languages=["en", "1"]), "invalid_value", "languages[1]"),
    (transcribe(max_line_width=40), "invalid_value", "max_line_width"),
    (transcribe(stream=True, response_format="srt"), "invalid_value", "response_format"),
    (transcribe(mode="fast"), "invalid_value", "mode"),
    (transcribe(timestamp_granularities=["word"]), "invalid_value", "timestamp_granularities"),
    ({"input": {"openai_route": "/v1/embeddings", "openai_input": "x"}}, "job_invalid", None),
    ({"input": {"input": CHAT, "policy": {"executionTimeout": "1"}}}, "invalid_value", "policy.executionTimeout"),
    ({"input": CHAT, "policy": {"executionTimeout": 10**400}}, "invalid_value", "policy.executionTimeout"),
    ({"input": CHAT, "policy": {"executionTimeout": float("nan")}}, "invalid_value", "policy.executionTimeout"),
    ({"input": {"surface": "images", "size": "64x64"}}, "missing_required_parameter", "prompt"),
    (chat(repetition_penalty=1e-38), "invalid_value", "repetition_penalty"),
    (images(negative_prompt="\ud800"), "invalid_value", "negative_prompt"),
    (images(image=7), "invalid_type", "image"),
    (transcribe(prompt="\udfff"), "invalid_value", "prompt"),
    ({"input": {"input": CHAT, "policy": []}, "policy": 7}, "invalid_value", "policy"),
    ({"input": {**CHAT, "policy": {"executionTimeout": 1}}}, "invalid_value", "policy.executionTimeout"),
    ({"input": {"input": IMAGES, "s3Config": {"accessId": "a"}}}, "invalid_value", "s3Config"),
    (chat(model="gpt-4o"), "model_not_found", "model"),
    (chat(model="Fake_Images"), "model_not_found", "model"),
    (chat(model=7), "invalid_type", "model"),
    (chat(messages=[]), "invalid_value", "messages"),
    (chat(messages="hi"), "invalid_type", "messages"),
    (chat(messages=["hi"]), "invalid_type", "messages[0]"),
    (message(content=7), "invalid_type", "messages[0].content"),
    (message(content=None), "invalid_type", "messages[0].content"),
    (message(content=[]), "invalid_value", "messages[0].content"),
    (message(role="robot"), "invalid_value", "messages[0].role"),
    (message(role="tool"), "missing_required_parameter", "messages[0].tool_call_id"),
    ({"input": {"messages": [{"role": "user"}]}}, "missing_required_parameter", "messages[0].content"),
    (chat(temperature=2.1), "invalid_value", "temperature"),
    (chat(temperature=-0.1), "invalid_value", "temperature"),
    (chat(temperature=float("nan")), "invalid_value", "temperature"),
    (chat(temperature="hot"), "invalid_type", "temperature"),
    (chat(temperature=True), "invalid_type", "temperature"),
    (chat(max_tokens=0), "invalid_value", "max_tokens"),
    (chat(max_tokens=True), "invalid_type", "max_tokens"),
    (chat(stream="yes"), "invalid_type", "stream"),
    (chat(stop=["a", "b", "c", "d", "e"]), "invalid_value", "stop"),
    (chat(n=17), "invalid_value", "n"),
    (chat(n=True), "invalid_type", "n"),
    (chat(top_logprobs=2), "invalid_value", "top_logprobs"),
    (chat(logprobs=True, top_logprobs=21), "invalid_value", "top_logprobs"),
    (chat(tools=[{"type": "function"}]), "missing_required_parameter", "tools[0].function"),
    (chat(tools=[TOOL], tool_choice="g"), "invalid_value", "tool_choice"),
    (chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}), "invalid_value", "tool_choice.function.name"),
    (chat(tool_choice="required"), "invalid_value", "tool_choice"),
    (chat(guided_regex="a", guided_choice=["a"]), "invalid_value", "guided_choice"),
    (chat(response_format={"type": "json_schema"}), "missing_required_parameter", "response_format.json_schema"),
    (chat(tools=[TOOL], guided_regex="a"), "unsupported_parameter", "guided_regex"),
    (chat(chat_template_kwargs={"tokenize": True}), "invalid_value", "chat_template_kwargs.tokenize"),
    (chat(best_of=3), "unsupported_parameter", "best_of"),
    (chat(frequency_penalty=2.5), "invalid_value", "frequency_penalty"),
    (chat(logit_bias={"1": 200}), "invalid_value", "logit_bias"),
    (chat(logit_bias={"256": 2}), "invalid_value", "logit_bias"),
    (chat(logit_bias={"a": 2}), "invalid_value", "logit_bias"),
    (images(prompt=""), "missing_required_parameter", "prompt"),
    (images(prompt=["a"]), "invalid_type", "prompt"),
    (images(n=0), "invalid_value", "n"),
    (images(n=9), "invalid_value", "n"),
    (images(size="huge"), "invalid_value", "size"),
    (images(size="1024×1024"), "invalid_value", "size"),
    (images(size="32x32"), "invalid_value", "size"),
    (images(size="99999x64"), "invalid_value", "size"),
    (images(width=512), "invalid_value", "height"),
    (images(response_format="gif"), "invalid_value", "response_format"),
    (images(response_format="url"), "bucket_not_configured", "response_format"),
    (images(quality="hd", strict=True), "unsupported_parameter", "quality"),
    (images(clip_skip=2), "unsupported_parameter", "clip_skip"),
    (images(mask="x"), "media_invalid", "mask"),
    (images(strength=0), "invalid_value", "strength"),
    (images(seed=[1, 2], n=3), "invalid_value", "seed"),
    (images(seed=-1), "invalid_value", "seed"),
    (transcribe(audioUrl=""), "invalid_value", "audioUrl"),
    (transcribe(audioUrl=5), "invalid_type", "audioUrl"),
    (transcribe(audioUrl="nothing at all!"), "media_invalid", "audioUrl"),
    (transcribe(audioUrl="ftp://example.org/a.mp3"), "media_invalid", "audioUrl"),
    (transcribe(audioUrl="file:///etc/passwd"), "media_invalid", "audioUrl"),
    (transcribe(audioUrl="http://169.254.169.254/latest"), "media_address_forbidden", "audioUrl"),
    (transcribe(audioUrl="data:audio/wav;base64,"), "media_invalid", "audioUrl"),
    (transcribe(language="e"), "invalid_value", "language"),
    (transcribe(language="12"), "invalid_value", "language"),
    (transcribe(response_format="docx"), "invalid_value", "response_format"),
    (transcribe(temperature=1.5), "invalid_value", "temperature"),
    (transcribe(timestamp_granularities=["page"]), "invalid_value", "timestamp_granularities[0]"),
    (transcribe(include=["words"]), "invalid_value", "include[0]"),
    (embeddings(input=""), "invalid_value", "input"),
    (embeddings(input=[]), "invalid_value", "input"),
    (embeddings(input=["a", ""]), "invalid_value", "input[1]"),
    (embeddings(input=[1, "x"]), "invalid_type", "input[1]"),
    (embeddings(input=["x", 1]), "invalid_type", "input[1]"),
    (embeddings(input=[1, -2]), "invalid_value", "input[1]"),
    (embeddings(input=[True]), "invalid_type", "input[0]"),
    (embeddings(input=[[1], []]), "invalid_value", "input[1]"),
    (embeddings(input=[[1], ["x"]]), "invalid_type", "input[1][0]"),
    (embeddings(input=[[1]] * 2049), "invalid_value", "input"),
    (embeddings(input=7), "invalid_type", "input"),
    (embeddings(output_dtype="float64"), "invalid_value", "output_dtype"),
    (embeddings(embedding_types=["splade"]), "invalid_value", "embedding_types[0]"),
    (embeddings(input_type="title"), "invalid_value", "input_type"),
    (embeddings(truncate="yes"), "unsupported_parameter", "truncate"),
    (embeddings(token_encoding="p50k"), "invalid_value", "token_encoding"),
    (embeddings(encoding_format="npy"), "unsupported_parameter", "encoding_format"),
    (rerank(query=""), "invalid_value", "query"),
    (rerank(query=None), "missing_required_parameter", "query"),
    (rerank(documents=[]), "invalid_value", "documents"),
    (rerank(documents=["x", ""]), "invalid_value", "documents[1]"),
    (rerank(documents=[{"title": "x"}]), "invalid_value", "documents[0]"),
    (rerank(documents=["x"] * 2049), "invalid_value", "documents"),
    (rerank(top_n=0), "invalid_value", "top_n"),
    (rerank(stream=True), "unsupported_parameter", "stream"),
    (embeddings(input=["x"] * 2049), "invalid_value", "input"),
    (embeddings(dimensions=0), "invalid_value", "dimensions"),
    (embeddings(dimensions=1.5), "invalid_type", "dimensions"),
    (embeddings(encoding_format="hex"), "invalid_value", "encoding_format"),
]  # fmt: skip


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

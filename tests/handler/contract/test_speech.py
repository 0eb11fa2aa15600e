"""Speech at both doors, with the fake engine: which bodies are speech, answers, streams, errors."""

from __future__ import annotations

import base64
import io
import json
import random
import wave
from dataclasses import replace
from itertools import permutations
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI

from handler.contract import SURFACES
from handler.openapi.answers.speech import SpeechEvent
from models.errors import EngineFailed
from models.fake_speech import FakeSpeech
from tests.conftest import decoded, error_of
from tests.support.serving import in_process

pytestmark = pytest.mark.anyio

OPENAI = {"model": "tts-1", "input": "Hello there.", "voice": "tone"}
SISTER = {
    "model": "Fake_Speech", "text": "Hello there.", "mode": "custom_voice", "voice": "tone",
    "lang": "en-us", "speed": 1, "format": "flac", "sample_rate": 24000,
}  # fmt: skip
OMNI = {
    "input": "Hello there.", "voice": "tone", "language": "English", "task_type": "CustomVoice",
    "response_format": "wav", "sample_rate": 16000, "seed": 7,
}  # fmt: skip
EMBEDDINGS = {"input": "Hello there."}


async def answered(worker: Any, body: Any) -> Any:
    return decoded(await worker.answer({"id": "j", "input": body}))


async def refused(worker: Any, body: Any) -> dict[str, Any]:
    return error_of(await worker.answer({"id": "j", "input": body}))


def seconds(content: bytes) -> float:
    with wave.open(io.BytesIO(content)) as file:
        return file.getnframes() / file.getframerate()


# Which bodies are speech ------------------------------------------------------------------------


@pytest.mark.parametrize("body", [OPENAI, SISTER, OMNI], ids=["openai", "sister", "omni"])
@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_text_and_a_voice_are_speech_whatever_else_is_served(worker, body, wrapped):
    body = {name: value for name, value in body.items() if name != "model"}
    given = {"input": body, "policy": {}} if wrapped else body
    assert worker.accept({"id": "j", "input": given}).surface.name == "speech"


@pytest.mark.parametrize("surfaces", [*permutations(["speech", "embeddings", "chat"])])
async def test_the_order_of_surfaces_says_nothing(make_worker, surfaces):
    worker = make_worker(SURFACE=",".join(surfaces))
    bodies = {
        "speech": {"input": "Hello", "voice": "tone"},
        "embeddings": {"input": "Hello"},
        "chat": {"messages": [{"role": "user", "content": "Hi"}], "voice": "tone"},
    }
    for name, body in bodies.items():
        for order in (body, dict(reversed(body.items()))):
            assert worker.accept({"id": "j", "input": order}).surface.name == name


async def test_a_list_of_texts_and_a_voice_is_no_speech(worker):
    accepted = worker.accept({"id": "j", "input": {"input": ["a", "b"], "voice": "tone"}})
    assert accepted.surface.name == "embeddings"


async def test_a_text_alone_is_spoken_by_an_endpoint_of_speech(make_worker):
    worker = make_worker(SURFACE="speech")
    for body in ({"input": "Hello"}, {"text": "Hello"}, "Hello"):
        assert worker.accept({"id": "j", "input": body}).surface.name == "speech"


async def test_a_body_that_runpods_client_sent_as_the_job_itself(worker):
    job = {"id": "j", "input": "Hello", "voice": "tone", "response_format": "wav"}
    assert decoded(await worker.answer(job))["format"] == "wav"


async def test_the_gateways_environment_names_the_surface(make_worker):
    assert [*make_worker(MODEL_TASKS="txt2audio").endpoint.surfaces] == ["speech"]


# Answers behind the queue -----------------------------------------------------------------------


async def test_an_answer_is_an_object_with_the_sound(worker):
    answer = await answered(worker, {**OPENAI, "response_format": "wav"})
    content = base64.b64decode(answer.pop("b64_json"))
    # Ten letters of a fortieth of a second, and silence around them.
    assert answer == {
        "format": "wav", "sample_rate": 24000, "duration": pytest.approx(0.35, abs=0.01),
        "voice": "tone", "usage": {"input_tokens": 10, "output_tokens": 10, "total_tokens": 20},
        "model": "Fake_Speech", "notice": "A fake engine answered.",
    }  # fmt: skip
    assert seconds(content) == pytest.approx(answer["duration"], abs=0.001)


async def test_the_sister_apis_words_are_honoured(worker):
    answer = await answered(worker, SISTER)
    assert (answer["format"], answer["sample_rate"]) == ("flac", 24000)
    assert base64.b64decode(answer["b64_json"])[:4] == b"fLaC"
    slower = await answered(worker, {**SISTER, "speed": 0.5, "format": "wav"})
    assert slower["duration"] == pytest.approx(2 * 0.35, abs=0.01)


async def test_with_a_bucket_the_answer_is_an_address(worker):
    class Stored:
        async def store(self, place: str, content: bytes, media_type: str) -> str:
            assert (place, media_type, content[:4]) == ("j/speech.opus", "audio/ogg", b"OggS")
            return "https://bucket/speech.opus"

    worker = replace(worker, dispatcher=replace(worker.dispatcher, bucket=Stored()))
    answer = await answered(worker, {**OPENAI, "response_format": "opus"})
    assert answer["url"] == "https://bucket/speech.opus"
    assert "b64_json" not in answer


async def test_progress_is_told_in_characters(worker):
    told: list[Any] = []
    await worker.answer({"id": "j", "input": {**OPENAI, "input": "One. Two three."}}, told.append)
    assert told[-1] == {"done": 14, "total": 14, "unit": "characters"}
    assert told[0]["done"] == 4


async def test_what_cannot_be_delivered_is_refused_before_it_is_spoken(make_worker):
    worker = make_worker(OUTPUT_LIMIT_BYTES="100000")
    body = {"input": "Hello there. " * 20, "voice": "tone", "response_format": "wav"}
    error = await refused(worker, body)
    assert (error["code"], error["param"]) == ("output_too_large", "input")
    assert not (await worker_counts(worker)), "it was spoken"
    assert (await answered(worker, {**body, "response_format": "opus"}))["format"] == "opus"


async def test_a_large_sound_in_a_form_of_ours_is_told_of(make_worker):
    worker = make_worker(INLINE_LIMIT_BYTES="20000")
    text = "Hello there, my dear friend. " * 6
    [warning] = (await answered(worker, {"input": text, "voice": "tone"}))["warnings"]
    assert warning["param"] == "response_format"
    assert "warnings" not in await answered(
        worker, {"input": text, "voice": "tone", "response_format": "mp3"}
    )


async def worker_counts(worker: Any) -> float:
    [model] = worker.dispatcher.pool.models()
    return model.engine.counters["speech_characters"]


async def test_events_behind_the_queue_and_the_whole_answer_at_their_end(worker):
    kept: list[Any] = []
    body = {**OPENAI, "input": "One. Two. Three.", "stream": True, "response_format": "pcm"}
    job = worker.accept({"id": "j", "input": body})
    assert job.streams
    *deltas, done = [event async for event in worker.stream(job, kept.append)]
    sound = b"".join(base64.b64decode(one["audio"]) for one in deltas)
    assert len(deltas) == 3
    assert {one["type"] for one in deltas} == {"speech.audio.delta"}
    assert (done["type"], done["format"]) == ("speech.audio.done", "pcm")
    assert SpeechEvent.model_validate(done).usage.total_tokens == 22
    [whole] = map(decoded, kept)
    assert base64.b64decode(whole["b64_json"]) == sound
    assert len(sound) == 2 * round(done["duration"] * 24000)


async def test_a_large_sound_is_cut_into_events_that_the_platform_takes(worker):
    body = {**OPENAI, "input": "a" * 270, "stream": True, "response_format": "pcm"}
    body |= {"sample_rate": 48000, "speed": 0.5}
    *deltas, _ = [event async for event in worker.stream({"id": "j", "input": body})]
    assert len(deltas) > 1
    assert max(len(json.dumps(one)) for one in deltas) < 250_000


async def test_on_the_openai_route_of_the_queue_events_are_server_sent(worker):
    job = {"id": "j", "input": {"openai_route": "/v1/audio/speech",
                                "openai_input": {**OPENAI, "stream_format": "sse"}}}  # fmt: skip
    events = [event async for event in worker.stream(job)]
    assert events[0].startswith("event: speech.audio.delta\ndata: {")
    assert events[-1].startswith("event: speech.audio.done\ndata: {")


# Over HTTP --------------------------------------------------------------------------------------

MEDIA_TYPES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac",
    "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip


@pytest.mark.parametrize("format_", MEDIA_TYPES)
async def test_openais_client_gets_the_sound_with_its_type(worker, format_):
    async with in_process(worker, preload=False) as (_, http):
        client = AsyncOpenAI(base_url=f"{http.base_url}/v1", api_key="-", http_client=http)
        answer = await client.audio.speech.create(
            model="tts-1", voice="tone", input="Hello there.", response_format=format_, speed=1.5
        )
        assert answer.response.headers["content-type"] == MEDIA_TYPES[format_]
        assert int(answer.response.headers["content-length"]) == len(answer.content) > 0
        about = json.loads(answer.response.headers["x-about"])
        assert (about["format"], about["model"]) == (format_, "Fake_Speech")


@pytest.mark.parametrize("format_", MEDIA_TYPES)
async def test_the_sound_leaves_as_it_is_made(worker, format_):
    body = {**OPENAI, "input": "One. Two. Three.", "stream": True, "response_format": format_}
    async with in_process(worker, preload=False) as (_, http):
        async with http.stream("POST", "/v1/audio/speech", json=body) as response:
            assert response.headers["content-type"] == MEDIA_TYPES[format_]
            assert "content-length" not in response.headers
            content = b"".join([piece async for piece in response.aiter_raw()])
        # ``stream: false`` is no stream.
        whole = (await http.post("/v1/audio/speech", json={**body, "stream": False})).content
    if format_ in {"pcm", "aac"}:
        assert content == whole
    if format_ == "wav":
        assert content[44:] == whole[44:]
        assert content[4:8] == content[40:44] == b"\xff\xff\xff\xff"
    assert len(content) > 0.9 * len(whole)


async def test_server_sent_events_have_openais_types(worker):
    body = {**OPENAI, "input": "One. Two.", "stream_format": "sse", "response_format": "mp3"}
    async with in_process(worker, preload=False) as (_, http):
        response = await http.post("/v1/audio/speech", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    *lines, last = [
        json.loads(line.removeprefix("data: "))
        for line in response.text.splitlines()
        if line.startswith("data: ")
    ]
    for line in (*lines, last):
        SpeechEvent.model_validate(line, strict=True)
    # As OpenAI's description of its interface has them: these fields, each required.
    assert {(*line,) for line in lines} == {("type", "audio")}
    assert {one["type"] for one in lines} == {"speech.audio.delta"}
    assert last["type"] == "speech.audio.done"
    assert {*last["usage"]} == {"input_tokens", "output_tokens", "total_tokens"}
    assert base64.b64decode(lines[0]["audio"])[:1] == b"\xff"  # an mp3's frame


async def test_a_warning_is_in_the_header_and_in_the_last_event(worker):
    body = {**OPENAI, "voice": "alloy", "instructions": "Whisper."}
    async with in_process(worker, preload=False) as (_, http):
        answer = await http.post("/v1/audio/speech", json=body)
        streamed = await http.post("/v1/audio/speech", json={**body, "stream": True})
    for response in (answer, streamed):
        warnings = json.loads(response.headers["x-about"])["warnings"]
        assert [one["param"] for one in warnings] == ["voice", "instructions"]
        assert warnings[0]["message"] == "alloy is a voice of OpenAI's; tone speaks."
    strict = {**body, "strict": True}
    error = await refused(worker, strict)
    assert (error["code"], error["param"]) == ("invalid_value", "voice")


async def test_a_sound_that_breaks_off_does_not_look_whole(worker, monkeypatch):
    spoken = FakeSpeech.speak

    def broken(self: FakeSpeech, batch: Any) -> Any:
        return [EngineFailed("no more")] if batch[0].place else spoken(self, batch)

    monkeypatch.setattr(FakeSpeech, "speak", broken)
    body = {**OPENAI, "input": "One. Two.", "stream": True, "response_format": "pcm"}
    async with in_process(worker, preload=False) as (_, http):
        with pytest.raises((ConnectionAbortedError, httpx.RemoteProtocolError)):
            await http.post("/v1/audio/speech", json=body)


async def test_the_models_voices_and_languages_are_told(worker):
    async with in_process(worker, preload=False) as (_, http):
        model = (await http.get("/v1/models/Fake_Speech")).json()
    voice = {"name": "Tone", "slug": "tone", "gender": "female"}
    assert model["languages"] == [{"name": "English", "slug": "en-us", "voices": [voice]}]
    assert model["parameters"]["voice"] == {"type": "string", "enum": ["tone"]}
    assert model["parameters"]["speed"]["minimum"] == 0.25
    assert "instructions" not in model["parameters"]


async def test_what_was_spoken_is_counted(worker):
    async with in_process(worker, preload=False) as (_, http):
        await http.post("/v1/audio/speech", json=OPENAI)
        text = (await http.get("/metrics")).text
    assert 'quartet_speech_characters_total{model="Fake_Speech"} 12.0' in text
    assert 'quartet_speech_sound_seconds_total{model="Fake_Speech"} 0.25' in text
    assert 'quartet_speech_first_sounds_total{model="Fake_Speech"} 1.0' in text


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"input": ""}, "invalid_value", "input"),
        ({"input": None}, "missing_required_parameter", "input"),
        ({"input": " \n\t\x00 "}, "nothing_to_speak", "input"),
        ({"input": "…!?"}, "nothing_to_speak", "input"),
        ({"input": "🎉🎉"}, "nothing_to_speak", "input"),
        ({"input": "a" * 100_000}, "string_above_max_length", "input"),
        ({"input": "a\ud800b"}, "invalid_value", "input"),
        ({"input": 7}, "invalid_type", "input"),
        ({"voice": "nobody"}, "voice_not_found", "voice"),
        ({"voice": {"id": "nobody"}}, "voice_not_found", "voice"),
        ({"voice": 3}, "invalid_type", "voice"),
        ({"language": "de"}, "language_not_supported", "language"),
        ({"lang": "de"}, "language_not_supported", "lang"),
        ({"speed": 0.24}, "invalid_value", "speed"),
        ({"speed": 4.01}, "invalid_value", "speed"),
        ({"response_format": "ogg"}, "invalid_value", "response_format"),
        ({"sample_rate": 11}, "invalid_value", "sample_rate"),
        ({"response_format": "opus", "sample_rate": 44100}, "invalid_value", "sample_rate"),
        ({"ref_audio": "AAAA"}, "unsupported_parameter", "ref_audio"),
        ({"mode": "voice_clone"}, "unsupported_parameter", "mode"),
        ({"mode": "voice_design"}, "unsupported_parameter", "mode"),
        ({"task_type": "Base"}, "unsupported_parameter", "task_type"),
        ({"stream_format": "sse", "stream": False}, "invalid_value", "stream"),
        ({"text": "Something else."}, "invalid_value", "text"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(make_worker, change, code, param):
    worker = make_worker(SURFACE="speech")
    error = await refused(worker, {**OPENAI, **change})
    assert (error["code"], error["param"]) == (code, param), error["message"]


async def test_the_operator_sets_how_long_a_text_may_be(make_worker):
    worker = make_worker(SPEECH_MAX_CHARACTERS="9000")
    answer = await answered(
        worker, {**OPENAI, "input": "Yes yes yes. " * 350, "response_format": "opus"}
    )
    assert answer["duration"] > 80
    error = await refused(worker, {**OPENAI, "input": "a" * 9001})
    assert "at most 9000" in error["message"]


async def test_a_mutated_body_is_never_a_fault_of_ours(make_worker):
    worker, dice = make_worker(SURFACE="speech"), random.Random(34)
    values = [
        None, True, 0, -1, 1e308, 2**70, "", "x", "\x00", "\ud800", [], ["a"], {}, {"id": "x"},
        "Hello. 世界", "<speak>Hi</speak>", "a" * 5000, "mp3", "sse", 0.25, 4, 24000, "en",
    ]  # fmt: skip
    names = [*SURFACES["speech"].operations[0].request.known()]
    for _ in range(500):
        body = {**OPENAI, **{dice.choice(names): dice.choice(values) for _ in range(3)}}
        if dice.random() < 0.3:
            del body[dice.choice([*body])]
        output = decoded(await worker.answer({"id": "j", "input": body}))
        if "error" in output and isinstance(output["error"], str):
            assert json.loads(output["error"])["type"] == "invalid_request_error", (body, output)

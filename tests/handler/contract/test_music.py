"""Music at both doors, with the fake engine: which bodies are music, answers, errors."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import random
import wave
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from handler.contract import SURFACES
from handler.openapi.answers.music import MusicResponse
from models.sound.encoding import encoder
from tests.conftest import decoded, error_of
from tests.support.serving import in_process

pytestmark = pytest.mark.anyio

SISTER = {
    "model": "Fake_Music", "caption": "lofi beat, warm piano", "lyrics": "[Instrumental]",
    "duration": 10, "bpm": 90, "keyscale": "F# minor", "timesignature": 4, "vocal_language": "en",
    "inference_steps": 8, "guidance_scale": 1, "seed": 5, "format": "flac",
}  # fmt: skip
# ACE-Step's own server.
ACE_STEP = {
    "prompt": "lofi beat", "lyrics": "[verse]\nla", "audio_duration": 10.0, "bpm": None,
    "key_scale": "B-flat Major", "time_signature": "4/4", "audio_format": "mp3", "batch_size": 1,
    "inference_steps": 8, "use_random_seed": True, "seed": -1, "task_type": "text2music",
    "thinking": False, "repainting_start": 0.0, "repainting_end": -1,
}  # fmt: skip


async def answered(worker: Any, body: Any) -> Any:
    return decoded(await worker.answer({"id": "j", "input": body}))


async def refused(worker: Any, body: Any) -> dict[str, Any]:
    return error_of(await worker.answer({"id": "j", "input": body}))


def made(worker: Any) -> float:
    models = worker.dispatcher.pool.models()
    return sum(model.engine.counters["music_songs"] for model in models)


@pytest.fixture(scope="module")
def recording() -> str:
    """Two seconds of a tone, as a data URI."""
    writer = encoder("wav", 8000, 8000, streamed=False)
    writer.push((0.3 * np.sin(np.arange(16_000) * 0.3)).astype(np.float32))
    return "data:audio/wav;base64," + base64.b64encode(writer.close()).decode()


# Which bodies are music -------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True])
async def test_a_caption_is_music_whatever_else_is_served(worker, wrapped):
    body = {name: value for name, value in SISTER.items() if name != "model"}
    given = {"input": body, "policy": {}} if wrapped else body
    assert worker.accept({"id": "j", "input": given}).surface.name == "music"
    # What a field means to another surface does not count beside it.
    both = {**body, "prompt": body["caption"]}
    assert worker.accept({"id": "j", "input": both}).surface.name == "music"


async def test_other_bodies_stay_what_they_are(worker):
    bodies = {
        "images": {"prompt": "a cat", "lyrics": "la"},
        "chat": {"messages": [{"role": "user", "content": "Hi"}], "lyrics": "la"},
        "speech": {"input": "Hello", "voice": "tone"},
    }
    for name, body in bodies.items():
        assert worker.accept({"id": "j", "input": body}).surface.name == name


async def test_ace_steps_own_words_are_understood_by_an_endpoint_of_music(make_worker):
    worker = make_worker(SURFACE="music")
    answer = await answered(worker, ACE_STEP)
    assert (answer["format"], answer["duration"]) == ("mp3", 10)
    assert "warnings" not in answer
    request = worker.accept({"id": "j", "input": ACE_STEP}).request
    assert (request.keyscale, request.timesignature) == ("Bb major", "4")


async def test_the_gateways_environment_names_the_surface(make_worker):
    assert [*make_worker(MODEL_TASKS="txt2music").endpoint.surfaces] == ["music"]


# Answers behind the queue -----------------------------------------------------------------------


async def test_an_answer_is_an_object_with_the_song(worker):
    answer = await answered(worker, {**SISTER, "format": "wav"})
    content = base64.b64decode(answer.pop("b64_json"))
    tokens = len(SISTER["caption"]) + len(SISTER["lyrics"])
    assert answer == {
        "format": "wav", "sample_rate": 8000, "duration": 10.0, "task_type": "text2music",
        "usage": {"input_tokens": tokens, "output_tokens": 250, "total_tokens": tokens + 250},
        "seed": 5, "model": "Fake_Music", "notice": "A fake engine answered.",
    }  # fmt: skip
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnframes(), file.getnchannels()) == (80_000, 2)


async def test_the_form_is_mp3_where_it_is_left_open_and_no_bucket_is_there(worker):
    answer = await answered(worker, {"caption": "lofi"})
    assert answer["format"] == "mp3"
    assert 0 <= answer["seed"] < 2**32


async def test_with_a_bucket_the_answer_is_an_address(worker):
    places: list[tuple[str, str, bytes]] = []

    class Stored:
        async def store(self, place: str, content: bytes, media_type: str) -> str:
            places.append((place, media_type, content[:4]))
            return f"https://bucket/{place}"

    worker = replace(worker, dispatcher=replace(worker.dispatcher, bucket=Stored()))
    answer = await answered(worker, {"caption": "lofi", "duration": 600, "inference_steps": 1})
    assert answer["url"] == "https://bucket/j/song.flac"
    assert places.pop() == ("j/song.flac", "audio/flac", b"fLaC")
    several = await answered(worker, {**SISTER, "n": 2, "format": "opus"})
    assert several["data"] == [
        {"url": "https://bucket/j/song-0.opus", "seed": 5},
        {"url": "https://bucket/j/song-1.opus", "seed": 6},
    ]
    assert [place[1] for place in places] == ["audio/ogg"] * 2
    assert "b64_json" not in json.dumps(several)


async def test_several_songs_are_a_list(worker):
    answer = await answered(worker, {**SISTER, "n": 2, "format": "mp3"})
    MusicResponse.model_validate(answer, strict=True)
    assert [one["seed"] for one in answer["data"]] == [5, 6]
    first, second = (base64.b64decode(one["b64_json"]) for one in answer["data"])
    assert first != second
    alone = await answered(worker, {**SISTER, "format": "mp3", "seed": 6})
    assert base64.b64decode(alone["b64_json"]) == second


async def test_the_seed_that_was_used_comes_back(worker):
    random_ = {**SISTER, "seed": -1, "format": "mp3"}
    first, second = await answered(worker, random_), await answered(worker, random_)
    assert first["seed"] != second["seed"]
    again = await answered(worker, {**SISTER, "format": "mp3", "seed": first["seed"]})
    assert again["b64_json"] == first["b64_json"]


async def test_progress_is_told_in_steps(worker):
    told: list[Any] = []
    body = {**SISTER, "inference_steps": 3, "n": 2}
    await worker.answer({"id": "j", "input": body}, told.append)
    assert told[0] == {"done": 1, "total": 6, "unit": "steps"}
    assert told[-1] == {"done": 6, "total": 6, "unit": "steps"}


async def test_a_cancelled_job_ends_at_its_next_step(make_worker):
    worker = make_worker(SURFACE="music", FAKE_DELAY_S="0.05")
    told: list[Any] = []
    body = {**SISTER, "inference_steps": 100}
    task = asyncio.ensure_future(worker.answer({"id": "j", "input": body}, told.append))
    while not told:
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(told) < 20
    assert (await answered(worker, {**SISTER, "inference_steps": 1, "format": "mp3"}))["seed"] == 5
    assert made(worker) == 1


# Ten minutes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", [None, "mp3", "opus", "aac"])
async def test_ten_minutes_without_a_bucket_are_compressed_until_they_fit(make_worker, format_):
    worker = make_worker(SURFACE="music", OUTPUT_LIMIT_BYTES="5500000")
    body = {"caption": "lofi", "duration": 600, "inference_steps": 1, "seed": 1}
    output = await worker.answer(
        {"id": "j", "input": body | ({"format": format_} if format_ else {})}
    )
    answer = decoded(output)
    if format_ in (None, "mp3", "aac"):  # 64 kbit/s are 6.4 MB as base64, 48 are 4.8
        error = error_of(output)
        assert (error["code"], error["param"]) == (
            "output_too_large", "duration" if format_ is None else "format",
        )  # fmt: skip
        assert "ask for opus" in error["message"]
        assert not made(worker), "it was made"
        return
    assert answer["duration"] == 600
    assert len(output.content) <= 5_500_000


async def test_ten_minutes_fit_the_platforms_own_limit(make_worker):
    worker = make_worker(SURFACE="music")
    output = await worker.answer(
        {"id": "j", "input": {"caption": "lofi", "duration": 600, "inference_steps": 1}}
    )
    answer = decoded(output)
    assert (answer["format"], answer["duration"]) == ("mp3", 600)
    assert len(output.content) < 9_500_000
    error = await refused(worker, {**SISTER, "duration": 600})
    assert (error["code"], error["param"]) == ("output_too_large", "format")
    assert "mp3" in error["message"]
    assert made(worker) == 1


# Over HTTP --------------------------------------------------------------------------------------

MEDIA_TYPES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac",
    "wav": "audio/wav",
}  # fmt: skip


@pytest.mark.parametrize("format_", MEDIA_TYPES)
async def test_over_http_the_answer_is_the_song(worker, format_):
    async with in_process(worker, preload=False) as (_, http):
        answer = await http.post("/v1/audio/music", json={**SISTER, "format": format_})
    assert answer.headers["content-type"] == MEDIA_TYPES[format_]
    about = json.loads(answer.headers["x-about"])
    assert (about["format"], about["seed"], about["duration"]) == (format_, 5, 10)
    assert len(answer.content) > 10_000


async def test_over_http_several_songs_are_a_list(worker):
    async with in_process(worker, preload=False) as (_, http):
        answer = await http.post("/v1/audio/music", json={**SISTER, "n": 3})
    assert len(answer.json()["data"]) == 3
    assert base64.b64decode(answer.json()["data"][0]["b64_json"])[:4] == b"fLaC"


async def test_a_form_brings_recordings(worker, recording):
    content = base64.b64decode(recording.partition(",")[2])
    files = {"reference_audio": ("timbre.wav", content), "src_audio": ("source.wav", content)}
    async with in_process(worker, preload=False) as (_, http):
        answer = await http.post(
            "/v1/audio/music",
            data={"caption": "lofi", "timesignature": "4", "n": "1", "format": "wav"},
            files=files,
        )
        plain = await http.post("/v1/audio/music", data={"caption": "lofi", "duration": "10"})
    assert json.loads(answer.headers["x-about"])["task_type"] == "cover"
    assert json.loads(answer.headers["x-about"])["duration"] == 2
    assert plain.status_code == 200


async def test_what_a_model_honours_is_told(worker):
    async with in_process(worker, preload=False) as (_, http):
        model = (await http.get("/v1/models/Fake_Music")).json()
    parameters = model["parameters"]
    assert (parameters["duration"]["minimum"], parameters["duration"]["maximum"]) == (10, 600)
    assert (parameters["inference_steps"]["default"], parameters["bpm"]["maximum"]) == (4, 300)
    assert parameters["timesignature"]["enum"] == ["2", "3", "4", "6"]
    assert "guidance_scale" not in parameters


async def test_what_was_made_is_counted(worker):
    async with in_process(worker, preload=False) as (_, http):
        await http.post("/v1/audio/music", json={**SISTER, "n": 2})
        text = (await http.get("/metrics")).text
    assert 'quartet_music_songs_total{model="Fake_Music"} 2.0' in text
    assert 'quartet_music_sound_seconds_total{model="Fake_Music"} 20.0' in text
    assert "quartet_music_run_seconds_total" in text


# Recordings -------------------------------------------------------------------------------------


async def test_a_cover_takes_its_source_or_else_the_reference(worker, recording):
    body = {"caption": "lofi", "format": "wav"}
    for given in (
        {"src_audio": recording},
        {"src_audio": recording, "reference_audio": recording, "task_type": "cover"},
        {"reference_audio": recording, "task_type": "cover"},
    ):
        answer = await answered(worker, {**body, **given})
        assert (answer["task_type"], answer["duration"]) == ("cover", 2), answer
    answer = await answered(worker, {**body, "reference_audio": recording})
    assert (answer["task_type"], answer["duration"]) == ("text2music", 10)


# Fields -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("F# minor", "F# minor"), ("Am", "A minor"), ("c major", "C major"), ("Bb", "Bb major"),
        ("B-flat Major", "Bb major"), ("D♭ min", "Db minor"), ("G sharp minor", "G# minor"),
        ("EM", "E major"), ("Bm", "B minor"), ("b minor", "B minor"), ("bbm", "Bb minor"),
    ],
)  # fmt: skip
async def test_keys_as_people_write_them(worker, given, read):
    job = worker.accept({"id": "j", "input": {"caption": "lofi", "keyscale": given}})
    assert job.request.keyscale == read


async def test_guidance_of_a_distilled_model_is_named(worker):
    answer = await answered(worker, {**SISTER, "guidance_scale": 7.5, "format": "mp3"})
    assert [one["param"] for one in answer["warnings"]] == ["guidance_scale"]
    error = await refused(worker, {**SISTER, "guidance_scale": 7.5, "strict": True})
    assert (error["code"], error["param"]) == ("unsupported_parameter", "guidance_scale")
    named = await answered(worker, {"caption": "a", "guidance": 7.5})
    assert "guidance_scale" in named["warnings"][0]["param"]


@pytest.mark.parametrize(
    ("change", "code", "param"),
    [
        ({"caption": None}, "missing_required_parameter", "caption"),
        ({"caption": ""}, "invalid_value", "caption"),
        ({"caption": " \n"}, "invalid_value", "caption"),
        ({"caption": 7}, "invalid_type", "caption"),
        ({"caption": "a\ud800"}, "invalid_value", "caption"),
        ({"caption": "la " * 500}, "context_length_exceeded", "caption"),
        ({"lyrics": "la " * 900}, "context_length_exceeded", "lyrics"),
        ({"duration": 9.9}, "invalid_value", "duration"),
        ({"duration": 600.5}, "invalid_value", "duration"),
        ({"audio_duration": 5, "duration": None}, "invalid_value", "audio_duration"),
        ({"bpm": 29}, "invalid_value", "bpm"),
        ({"bpm": 301}, "invalid_value", "bpm"),
        ({"keyscale": "H minor"}, "invalid_value", "keyscale"),
        ({"keyscale": "C# Dorian"}, "invalid_value", "keyscale"),
        ({"timesignature": 5}, "invalid_value", "timesignature"),
        ({"timesignature": True}, "invalid_value", "timesignature"),
        ({"vocal_language": "English please"}, "invalid_value", "vocal_language"),
        ({"inference_steps": 0}, "invalid_value", "inference_steps"),
        ({"inference_steps": 101}, "invalid_value", "inference_steps"),
        ({"guidance_scale": 20.1}, "invalid_value", "guidance_scale"),
        ({"seed": -2}, "invalid_value", "seed"),
        ({"n": 5}, "invalid_value", "n"),
        ({"format": "ogg"}, "invalid_value", "format"),
        ({"task_type": "cover"}, "missing_required_parameter", "src_audio"),
        ({"task_type": "repaint"}, "invalid_value", "task_type"),
        ({"task_type": "text2music", "src_audio": "AAAA"}, "invalid_value", "src_audio"),
        ({"reference_audio": "AAAA"}, "media_undecodable", "reference_audio"),
        ({"src_audio": "AAAA"}, "media_undecodable", "src_audio"),
        ({"reference_audio": "AAAA", "task_type": "cover"}, "media_undecodable", "reference_audio"),
        ({"reference_audio": "http://127.0.0.1/a"}, "media_address_forbidden", "reference_audio"),
        ({"reference_audio": "A" * 15_500_000}, "media_too_large", "reference_audio"),
        ({"ref_audio": "AAAA"}, "media_undecodable", "ref_audio"),
        ({"stream": True}, "unsupported_parameter", "stream"),
        ({"thinking": True}, "unsupported_parameter", "thinking"),
        ({"repainting_start": 3}, "unsupported_parameter", "repainting_start"),
        ({"audio_codes": "<|audio_code_1|>"}, "unsupported_parameter", "audio_codes"),
        ({"negative_prompt": "drums"}, "unsupported_parameter", "negative_prompt"),
        ({"prompt": "something else"}, "invalid_value", "prompt"),
        ({"instrumental": True, "lyrics": "la"}, "invalid_value", "instrumental"),
        ({"instrumental": "yes"}, "invalid_type", "instrumental"),
        ({"use_random_seed": True}, "invalid_value", "use_random_seed"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(make_worker, change, code, param):
    worker = make_worker(SURFACE="music")
    error = await refused(worker, {**SISTER, **change})
    assert (error["code"], error["param"]) == (code, param), error["message"]
    assert not made(worker)


async def test_a_mutated_body_is_never_a_fault_of_ours(make_worker, recording):
    worker, dice = make_worker(SURFACE="music"), random.Random(35)
    values = [
        None, True, 0, -1, 1e308, 2**70, "", "x", "\x00", "\ud800", [], ["a"], {}, {"id": "x"},
        "Calm. 世界", "[verse]\nla", "a" * 30_000, "mp3", 0.25, 4, 10, 600, "en", "F# minor", "4/4",
        "cover", "<|endoftext|>", "data:audio/wav;base64,AAAA", recording, "file:///etc/passwd",
    ]  # fmt: skip
    names = [*SURFACES["music"].operations[0].request.known()]
    body_of = {**SISTER, "inference_steps": 1, "format": "opus"}
    for _ in range(300):
        body = {**body_of, **{dice.choice(names): dice.choice(values) for _ in range(3)}}
        if dice.random() < 0.3:
            del body[dice.choice([*body])]
        output = decoded(await worker.answer({"id": "j", "input": body}))
        if "error" in output and isinstance(output["error"], str):
            assert json.loads(output["error"])["type"] == "invalid_request_error", (body, output)

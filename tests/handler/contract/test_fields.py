"""Fields that gateways' and peers' clients send: honoured, an alias, or refused by name."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import pytest
from PIL import Image

from handler.contract import SURFACES
from models.errors import InvalidValue, UnsupportedParameter
from models.transcribe.request import FALLBACK
from tests.conftest import decoded, error_of
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE, WAV

PIXEL = "data:image/png;base64," + base64.b64encode(b"a picture").decode()
BODIES = {"chat": CHAT, "images": IMAGES, "transcribe": TRANSCRIBE, "embeddings": EMBEDDINGS}


def parse(surface: str, body: dict[str, Any]) -> Any:
    return SURFACES[surface].operations[0].request.parse(body)


ALIASES = [
    *(
        ("images", {**IMAGES, name: value}, {**IMAGES, "image": value})
        for name, value in (
            ("images", [PIXEL]), ("image_url", PIXEL), ("image_urls", [PIXEL]),
            ("input_image", PIXEL), ("init_image", PIXEL),
        )
    ),
    ("images", {**IMAGES, "num_images": 3}, {**IMAGES, "n": 3}),
    ("images", {**IMAGES, "cfg_scale": 3.5}, {**IMAGES, "guidance": 3.5}),
    ("images", {**IMAGES, "guidance_scale": 3.5}, {**IMAGES, "guidance": 3.5}),
    ("images", {**IMAGES, "num_inference_steps": 8}, {**IMAGES, "steps": 8}),
    *(
        ("transcribe", {name: WAV}, TRANSCRIBE)
        for name in ("audio_url", "video_url", "file", "audio", "audio_base64")
    ),
    ("chat", {**CHAT, "max_new_tokens": 4}, {**CHAT, "max_tokens": 4}),
    ("chat", {**CHAT, "max_completion_tokens": 4}, {**CHAT, "max_tokens": 4}),
    ("chat", {**CHAT, "stop_sequences": ["x"]}, {**CHAT, "stop": ["x"]}),
    ("embeddings", {"texts": ["a", "b"]}, {"input": ["a", "b"]}),
    ("embeddings", {"sentences": ["a", "b"]}, {"input": ["a", "b"]}),
]  # fmt: skip


@pytest.mark.parametrize(("surface", "sent", "meant"), ALIASES)
def test_an_alias_is_its_field(surface, sent, meant):
    assert parse(surface, sent).model_dump() == parse(surface, meant).model_dump()


@pytest.mark.parametrize(("surface", "sent", "meant"), ALIASES)
def test_two_names_with_two_values_are_refused(surface, sent, meant):
    [name] = sent.keys() - meant.keys()
    [field] = meant.keys() - sent.keys()
    parse(surface, {**sent, field: sent[name]})
    parse(surface, {**sent, field: meant[field]})
    with pytest.raises(InvalidValue, match="one field with two names") as caught:
        parse(surface, {**sent, field: "another" if isinstance(sent[name], str) else 1})
    assert caught.value.param == name


REFUSED = [
    ("images", {"video": PIXEL}, "its first frame as image"),
    ("images", {"svg": True}, "leave it out"),
    ("embeddings", {"normalize": False}, "every vector is a unit vector"),
    ("embeddings", {"query": "which?"}, "as documents"),
    ("embeddings", {"instruction": "Represent this"}, "input_type"),
]


@pytest.mark.parametrize(("surface", "sent", "instead"), REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(surface, sent, instead):
    [name] = sent
    with pytest.raises(UnsupportedParameter, match=instead) as caught:
        parse(surface, {**BODIES[surface], **sent})
    assert caught.value.param == name
    assert caught.value.message.startswith(f"{name} is not supported; ")


@pytest.mark.parametrize(
    ("surface", "sent"),
    [
        ("images", {"strength": None, "mask": None}),
        ("chat", {"tools": [], "logit_bias": {}, "functions": [], "system": ""}),
        (
            "transcribe",
            {"diarize": False, "include": [], "include_ts": False, "word_timestamps": False},
        ),
        ("embeddings", {"normalize": True, "instruction": ""}),
        *((surface, {"return_result_in_response": True}) for surface in BODIES),
        *((surface, {"nobody_knows": {"this": 1}}) for surface in BODIES),
    ],
)
def test_what_changes_nothing_is_taken(surface, sent):
    assert parse(surface, {**BODIES[surface], **sent}) == parse(surface, BODIES[surface])


EMPTY: dict[str, dict[str, list[Any]]] = {
    "chat": {
        "": ["response_format", "stop", "temperature", "seed", "tool_choice", "model", "system"],
        "[]": ["stop", "tools", "guided_choice"],
        "{}": ["response_format", "stream_options", "logit_bias", "chat_template_kwargs"],
    },
    "images": {
        "": ["negative_prompt", "size", "scheduler", "seed", "n", "output_format", "model", "mask"],
        "[]": ["seed", "image", "loras"],
        "{}": ["strength"],
    },
    "transcribe": {
        "": ["language", "response_format", "temperature", "prompt", "chunking_strategy", "model"],
        "[]": ["languages", "keywords", "timestamp_granularities", "include", "temperature"],
        "{}": ["chunking_strategy", "vad_parameters"],
    },
    "embeddings": {
        "": ["dimensions", "encoding_format", "input_type", "model", "user"],
        "[]": ["embedding_types"],
        "{}": ["dimensions"],
    },
}


@pytest.mark.anyio
@pytest.mark.parametrize("surface", EMPTY)
@pytest.mark.parametrize("empty", ["null", "", "[]", "{}"])
async def test_what_is_empty_counts_as_left_out(worker, surface, empty):
    value = json.loads(empty) if empty else ""
    names = EMPTY[surface]["" if empty == "null" else empty]
    plain = parse(surface, BODIES[surface])
    for name in names:
        assert parse(surface, {**BODIES[surface], name: value}) == plain, name
        assert "error" not in decoded(
            await worker.answer({"input": {**BODIES[surface], name: value}})
        )


def test_what_is_empty_within_an_object_counts_as_left_out():
    sent = {**TRANSCRIBE, "vad_parameters": {"threshold": "", "speech_pad_ms": 30}}
    assert parse("transcribe", sent).vad_options == {"speech_pad_ms": 30}
    strategy = {"type": "server_vad", "threshold": None, "prefix_padding_ms": ""}
    assert parse("transcribe", {**TRANSCRIBE, "chunking_strategy": strategy}).vad is True
    sent = {**CHAT, "stream": True, "stream_options": {"include_usage": ""}}
    assert parse("chat", sent).stream_options.include_usage is None


def test_the_name_that_is_not_empty_counts():
    assert parse("chat", {**CHAT, "max_tokens": "", "max_new_tokens": 4}).max_tokens == 4
    assert parse("chat", {"messages": [], "prompt": "Hello"}).messages[0].content == "Hello"
    assert parse("embeddings", {"input": "", "texts": ["a"]}).input == ["a"]
    with pytest.raises(InvalidValue) as caught:
        parse("embeddings", {"texts": []})
    assert caught.value.param == "texts"


@pytest.mark.anyio
async def test_what_is_empty_beside_the_input_counts_as_left_out(worker):
    for beside in ({"s3Config": {}}, {"policy": {}}, {"policy": {"executionTimeout": ""}}):
        answer = decoded(await worker.answer({"input": CHAT, **beside}))
        assert answer["choices"]
    answer = decoded(await worker.answer({"input": {**CHAT, "surface": "", "prompt": ""}}))
    assert answer["choices"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "sent",
    [
        {"frames": 49}, {"num_frames": 49}, {"seconds": 2}, {"fps": 24}, {"audio": True},
        {"first_frame_image": PIXEL}, {"last_frame_image": PIXEL}, {"output_format": "mp4"},
    ],
)  # fmt: skip
async def test_what_is_of_videos_is_refused_by_who_makes_pictures(worker, sent):
    [name] = sent
    error = error_of(await worker.answer({"input": {**IMAGES, **sent}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", name)
    assert "still pictures" in error["message"]


@pytest.mark.anyio
async def test_what_asks_for_no_video_is_taken(worker):
    for sent in ({"num_frames": 1, "frames": 1}, {"audio": False}):
        assert "data" in decoded(await worker.answer({"input": {**IMAGES, **sent}}))


@pytest.mark.anyio
async def test_all_that_cannot_be_honoured_is_named_at_once(worker):
    body = {**IMAGES, "first_frame_image": PIXEL, "frames": 49, "fps": 24}
    error = error_of(await worker.answer({"input": body}))
    assert error["param"] in {"first_frame_image", "frames", "fps"}
    assert all(name in error["message"] for name in ("first_frame_image", "frames", "fps"))
    assert error["message"].count("still pictures") == 1


@pytest.mark.anyio
async def test_an_engines_error_names_the_field_as_the_client_did(worker):
    error = error_of(await worker.answer({"input": {"video_url": "ftp://example.org/a.mp3"}}))
    assert (error["code"], error["param"]) == ("media_invalid", "video_url")
    error = error_of(await worker.answer({"input": {"prompt": "x", "images": ["ftp://a.b/c"]}}))
    assert (error["code"], error["param"]) == ("media_invalid", "images")


def test_an_empty_list_of_pictures_is_none():
    assert parse("images", {**IMAGES, "images": []}).image is None
    with pytest.raises(InvalidValue, match="prompt is required"):
        parse("images", {"images": []})


def test_an_error_names_the_field_as_the_client_did():
    with pytest.raises(InvalidValue, match="^max_new_tokens: ") as caught:
        parse("chat", {**CHAT, "max_new_tokens": 0})
    assert caught.value.param == "max_new_tokens"
    with pytest.raises(InvalidValue, match="^images: ") as caught:
        parse("images", {**IMAGES, "images": [PIXEL] * 5})
    assert caught.value.param == "images"


@pytest.mark.parametrize(
    ("surface", "field", "value"),
    [
        ("images", "n", 2.0), ("images", "steps", 8.0), ("images", "seed", 1e3),
        ("chat", "max_tokens", 16.0), ("chat", "seed", -5.0), ("chat", "top_k", 40.0),
        ("embeddings", "dimensions", 256.0), ("transcribe", "beam_size", 2.0),
    ],
)  # fmt: skip
def test_a_whole_number_may_be_written_as_a_float(surface, field, value):
    request = parse(surface, {**BODIES[surface], field: value})
    assert getattr(request, field) == int(value)
    assert isinstance(getattr(request, field), int)
    with pytest.raises(InvalidValue) as caught:
        parse(surface, {**BODIES[surface], field: value + 0.5})
    assert (caught.value.code, caught.value.param) == ("invalid_type", field)


def test_whole_token_ids():
    assert parse("embeddings", {"input": [1, 2.0]}).inputs == ((1, 2),)
    assert parse("embeddings", {"input": [[1.0], [2]]}).inputs == ((1,), (2,))
    with pytest.raises(InvalidValue) as caught:
        parse("embeddings", {"input": [1, 2.5]})
    assert caught.value.param == "input[1]"


# Chat --------------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_a_system_prompt_beside_the_messages_is_their_first(worker):
    answer = decoded(await worker.answer({"input": {**CHAT, "system": "Be brief"}}))
    assert answer["choices"][0]["message"]["content"] == "Be brief\nHello"


def test_there_is_one_system_message():
    both = {"messages": [{"role": "system", "content": "a"}, *CHAT["messages"]], "system": "b"}
    with pytest.raises(InvalidValue) as caught:
        parse("chat", both)
    assert caught.value.param == "system"


@pytest.mark.anyio
async def test_fewer_tokens_under_their_other_name(worker):
    answer = decoded(await worker.answer({"input": {**CHAT, "max_new_tokens": 4}}))
    assert answer["usage"]["completion_tokens"] == 4
    assert answer["choices"][0]["finish_reason"] == "length"


RERANK = {"query": "which?", "documents": ["a", "b"]}


def rerank(body: dict[str, Any]) -> Any:
    operations = {one.routes[0]: one for one in SURFACES["embeddings"].operations}
    return operations["/v1/rerank"].request.parse(body)


def test_rerank_in_other_apis_words():
    told = {"query": "which?", "texts": ["a", "b"], "top_k": 1, "return_text": True}
    meant = {**RERANK, "top_n": 1, "return_documents": True, "raw_scores": False}
    assert rerank(told).model_dump() == rerank(meant).model_dump()


@pytest.mark.parametrize("sent", [{"normalize": False}, {"raw_scores": True}, {"instruction": "x"}])
def test_what_rerank_cannot_honour_is_refused_by_name(sent):
    with pytest.raises(UnsupportedParameter) as caught:
        rerank({**RERANK, **sent})
    assert caught.value.param == next(iter(sent))


@pytest.mark.anyio
async def test_a_completion_has_no_system_message(worker):
    job = {"openai_route": "/v1/completions", "openai_input": {"prompt": "x", "system": "Be brief"}}
    error = error_of(await worker.answer({"input": job}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", "system")


# Transcription -----------------------------------------------------------------------------------


def test_times_choose_a_format_that_has_them():
    assert parse("transcribe", TRANSCRIBE).format == "json"
    assert parse("transcribe", {**TRANSCRIBE, "include_ts": True}).format == "verbose_json"
    srt = parse("transcribe", {**TRANSCRIBE, "include_ts": True, "response_format": "srt"})
    assert srt.format == "srt"
    words = parse("transcribe", {**TRANSCRIBE, "word_timestamps": True})
    assert (words.format, words.words) == ("verbose_json", True)


@pytest.mark.parametrize(
    ("sent", "param"),
    [
        ({"include_ts": True, "response_format": "json"}, "include_ts"),
        ({"include_ts": True, "response_format": "text"}, "include_ts"),
        ({"word_timestamps": True, "response_format": "srt"}, "word_timestamps"),
        ({"translate": True, "task": "transcribe"}, "translate"),
        ({"temperature_increment_on_fallback": 0.01}, "temperature_increment_on_fallback"),
        ({"beam_size": 0}, "beam_size"),
        ({"beam_size": 11}, "beam_size"),
    ],
)
def test_what_contradicts_itself_is_refused(sent, param):
    with pytest.raises(InvalidValue) as caught:
        parse("transcribe", {**TRANSCRIBE, **sent})
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("sent", "tried"),
    [
        ({}, FALLBACK),
        ({"temperature": 0.4}, (0.4,)),
        ({"temperature_increment_on_fallback": 0.2}, FALLBACK),
        ({"temperature_increment_on_fallback": 0}, (0.0,)),
        ({"temperature": 0.4, "temperature_increment_on_fallback": 0.3}, (0.4, 0.7, 1.0)),
        ({"temperature": 0.5, "temperature_increment_on_fallback": 0.3}, (0.5, 0.8)),
    ],
)
def test_temperatures_to_try(sent, tried):
    assert parse("transcribe", {**TRANSCRIBE, **sent}).temperatures == tried


@pytest.mark.anyio
async def test_a_transcription_in_other_apis_words(worker):
    body = {"video_url": WAV, "include_ts": True, "translate": True, "word_timestamps": True}
    answer = decoded(await worker.answer({"input": body}))
    assert answer["task"] == "translate"
    assert answer["segments"][0]["start"] == 0.0
    assert answer["words"]


# Warnings ----------------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_what_the_model_has_no_use_for_is_left_out_and_said(worker):
    plain = decoded(await worker.answer({"input": {**IMAGES, "seed": 1}}))
    assert "warnings" not in plain
    vain = {**IMAGES, "seed": 1, "negative_prompt": "blur"}
    answer = decoded(await worker.answer({"input": vain}))
    assert answer["data"] == plain["data"]
    [warning] = answer["warnings"]
    assert warning["param"] == "negative_prompt"
    assert warning["message"].endswith("it was left out.")
    error = error_of(await worker.answer({"input": {**vain, "strict": True}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", "negative_prompt")
    again = decoded(await worker.answer({"input": {**IMAGES, "seed": 1, "strict": True}}))
    assert again["data"] == plain["data"]


@pytest.mark.anyio
async def test_a_picture_under_any_name_changes_the_answer(worker):
    def colour(answer: Any) -> Any:
        content = base64.b64decode(answer["data"][0]["b64_json"])
        return Image.open(io.BytesIO(content)).getpixel((0, 0))

    plain = decoded(await worker.answer({"input": {**IMAGES, "seed": 1}}))
    for name in ("image", "images", "init_image"):
        value: Any = [PIXEL] if name == "images" else PIXEL
        answer = decoded(await worker.answer({"input": {**IMAGES, "seed": 1, name: value}}))
        assert colour(answer) != colour(plain)


# The model first ---------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_who_asks_for_another_model_hears_of_that_first(worker):
    """A video model's fields are of no interest where the model is not held."""
    body = {
        "model": "Ltx2_3_22B_Dist_INT8", "prompt": "waves", "width": 768, "height": 512,
        "frames": 49, "fps": 24, "steps": 8, "guidance": 1, "seed": 1,
    }  # fmt: skip
    error = error_of(await worker.answer({"input": body}))
    assert error["code"] == "model_not_found"
    assert json.dumps(error).count("Fake_Images") == 1

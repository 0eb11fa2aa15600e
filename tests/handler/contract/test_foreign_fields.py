"""Fields of other servers: honoured, put into our words, or refused by name; never ignored."""

from __future__ import annotations

from typing import Any

import pytest

from handler.contract import SURFACES
from models.errors import InvalidValue, RequestError, UnsupportedParameter
from tests.conftest import decoded, error_of
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE, WAV

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
RERANK = {"query": "a", "documents": ["b", "c"]}
BODIES = {
    "chat": ("/v1/chat/completions", CHAT),
    "completions": ("/v1/completions", {"prompt": "Hello"}),
    "responses": ("/v1/responses", {"input": "Hello"}),
    "embeddings": ("/v1/embeddings", EMBEDDINGS),
    "rerank": ("/v1/rerank", RERANK),
    "transcribe": ("/v1/audio/transcriptions", TRANSCRIBE),
    "images": ("/v1/images/generations", IMAGES),
}


def parse(kind: str, sent: dict[str, Any]) -> Any:
    route, body = BODIES[kind]
    operations = [one.operation(route) for one in SURFACES.values()]
    [operation] = [one for one in operations if one is not None]
    return operation.request.parse({**body, **sent})


def form(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema},
        }
    }


MEANT = [
    # RunPod's own worker of vLLM
    ("chat", {"sampling_params": {"temperature": 0.5, "max_tokens": 4, "top_k": -1}}, {"temperature": 0.5, "max_tokens": 4, "top_k": -1}),
    ("chat", {"sampling_params": {"logprobs": 2, "stop": None}}, {"logprobs": True, "top_logprobs": 2}),
    ("chat", {"sampling_params": {}, "use_openai_format": True, "batch_size": 4}, {}),
    ("chat", {"apply_chat_template": True}, {}),
    ("completions", {"sampling_params": {"logprobs": 2, "n": 2}}, {"logprobs": 2, "n": 2}),
    # forms of an answer
    ("chat", {"response_format": {"type": "json_object", "schema": SCHEMA}}, form(SCHEMA)),
    ("chat", {"response_format": {"type": "json_schema", "schema": SCHEMA}}, form(SCHEMA)),
    ("chat", {"response_format": {"type": "json_schema", "json_schema": {"schema": SCHEMA}}}, form(SCHEMA)),
    ("chat", {"response_format": {"type": "json", "value": SCHEMA}}, form(SCHEMA)),
    ("chat", {"response_format": {"type": "regex", "value": "a|b"}}, {"guided_regex": "a|b"}),
    ("chat", {"json_schema": SCHEMA}, {"guided_json": SCHEMA}),
    ("chat", {"format": "json"}, {"response_format": {"type": "json_object"}}),
    ("chat", {"format": SCHEMA}, {"guided_json": SCHEMA}),
    ("chat", {"regex": "a|b"}, {"guided_regex": "a|b"}),
    ("chat", {"structured_outputs": {"regex": "a|b", "json": None}}, {"guided_regex": "a|b"}),
    ("chat", {"structured_outputs": {"json": SCHEMA}}, {"guided_json": SCHEMA}),
    ("chat", {"structured_outputs": {"choice": ["a", "b"]}}, {"guided_choice": ["a", "b"]}),
    ("chat", {"structured_outputs": {"json_object": True}}, {"response_format": {"type": "json_object"}}),
    # lengths
    ("chat", {"n_predict": 4}, {"max_tokens": 4}),
    ("chat", {"max_tokens": -1}, {}),
    ("chat", {"n_predict": -1}, {}),
    ("chat", {"enable_thinking": False}, {"chat_template_kwargs": {"enable_thinking": False}}),
    # samplers of others that are switched off
    ("chat", {"mirostat": 0, "dry_multiplier": 0.0, "tfs_z": 1.0, "top_n_sigma": -1, "typical_p": 1.0, "early_stopping": False}, {}),
    ("chat", {"cache_prompt": True, "keep_alive": "5m", "priority": 3, "request_id": "a"}, {}),
    ("responses", {"sampling_params": {"top_k": 3}}, {"top_k": 3}),
    ("responses", {"repetition_penalty": 1.5}, {"repetition_penalty": 1.5}),
    # embeddings
    ("embeddings", {"output_dimension": 2}, {"dimensions": 2}),
    ("embeddings", {"truncate_dim": 2}, {"dimensions": 2}),
    ("embeddings", {"embedding_type": "base64"}, {"encoding_format": "base64"}),
    ("embeddings", {"embedding_type": ["binary"]}, {"output_dtype": "binary"}),
    ("embeddings", {"normalized": True, "normalize_embeddings": True, "normalize": True}, {}),
    ("embeddings", {"add_special_tokens": True, "late_chunking": False, "truncation_direction": "Right"}, {}),
    ("embeddings", {"truncate_prompt_tokens": -1}, {"truncate": True}),
    ("embeddings", {"truncation": True}, {"truncate": True}),
    ("embeddings", {"truncate": "END"}, {"truncate": True}),
    ("embeddings", {"truncate": "NONE"}, {}),
    ("embeddings", {"task": "retrieval.query"}, {"input_type": "query"}),
    ("embeddings", {"task": "retrieval.passage"}, {"input_type": "passage"}),
    ("embeddings", {"prompt_name": "query"}, {"input_type": "query"}),
    ("rerank", {"truncation": True, "rank_fields": ["text"]}, {"truncate": True}),
    ("rerank", {"return_text": True, "top_k": 1, "raw_scores": False}, {"return_documents": True, "top_n": 1}),
    # RunPod's own worker of faster-whisper, with all of its defaults
    ("transcribe", {"initial_prompt": "Ada"}, {"prompt": "Ada"}),
    ("transcribe", {"enable_vad": True}, {"vad_filter": True}),
    ("transcribe", {"transcription": "srt"}, {"response_format": "srt"}),
    ("transcribe", {"transcription": "vtt"}, {"response_format": "vtt"}),
    ("transcribe", {"transcription": "plain_text"}, {"response_format": "json"}),
    (
        "transcribe",
        {
            "translate": False, "translation": "plain_text", "language": None, "temperature": 0,
            "best_of": 5, "beam_size": 5, "patience": 1.0, "length_penalty": 0.0,
            "suppress_tokens": "-1", "initial_prompt": None, "temperature_increment_on_fallback": 0.2,
            "compression_ratio_threshold": 2.4, "logprob_threshold": -1.0, "no_speech_threshold": 0.6,
            "enable_vad": False, "word_timestamps": False,
        },
        {"temperature": 0, "beam_size": 5, "temperature_increment_on_fallback": 0.2, "vad_filter": False},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "sent", "meant"), MEANT)
def test_a_field_of_another_server_is_put_into_our_words(kind, sent, meant):
    ours, theirs = parse(kind, meant), parse(kind, sent)
    if kind == "responses":
        ours, theirs = ours.chat, theirs.chat
    assert theirs.model_dump() == ours.model_dump()


REFUSED = [
    ("chat", "grammar", 'root ::= "a"', "guided_regex"),
    ("chat", "ebnf", 'root ::= "a"', "guided_regex"),
    ("chat", "guided_grammar", "x", "guided_regex"),
    ("chat", "format", "yaml", "JSON Schema"),
    ("chat", "documents", [{"text": "a"}], "message"),
    ("chat", "options", {"temperature": 0}, "beside messages"),
    ("chat", "apply_chat_template", False, "/v1/completions"),
    ("chat", "add_special_tokens", True, "send false"),
    ("completions", "add_special_tokens", False, "send true"),
    ("responses", "grammar", "x", "guided_regex"),
    *(("chat", name, 2, "leave it out") for name in (
        "mirostat", "dry_multiplier", "xtc_probability", "tfs_z", "typical_p", "top_a",
        "no_repeat_ngram_size", "length_penalty", "num_beams", "top_n_sigma",
    )),
    ("embeddings", "normalized", False, "unit vector"),
    ("embeddings", "normalize_embeddings", False, "unit vector"),
    ("embeddings", "truncate_prompt_tokens", 100, "truncate"),
    ("embeddings", "max_length", 100, "truncate"),
    ("embeddings", "truncation_direction", "Left", "send"),
    ("embeddings", "truncate", "START", "cut at its end"),
    ("embeddings", "add_special_tokens", False, "send true"),
    ("embeddings", "late_chunking", True, "send false"),
    ("embeddings", "task", "text-matching", "leave it out"),
    ("embeddings", "prompt_name", "s2p", "leave it out"),
    ("embeddings", "prompt", "search: ", "before each input"),
    ("embeddings", "embedding_type", "int4", "one of"),
    ("rerank", "rank_fields", ["title"], "each document"),
    ("rerank", "max_tokens_per_doc", 100, "shorter documents"),
    ("rerank", "max_chunks_per_doc", 3, "shorter documents"),
    ("rerank", "score_threshold", 0.5, "below it"),
    ("rerank", "raw_scores", True, "send false"),
    ("transcribe", "transcription", "formatted_text", "verbose_json"),
    *(("transcribe", name, value, "") for name, value in {
        "best_of": 3, "patience": 2.0, "no_speech_threshold": 0.3, "logprob_threshold": -0.5,
        "log_prob_threshold": -0.5, "compression_ratio_threshold": 2.0, "clip_timestamps": "0,5",
        "multilingual": True, "suppress_tokens": "1,2", "without_timestamps": True,
        "repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "length_penalty": 2, "prefix": "Ada",
        "max_new_tokens": 50, "chunk_length": 20, "suppress_blank": False,
    }.items()),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "name", "value", "words"), REFUSED)
def test_what_cannot_be_honoured_is_refused_by_name(kind, name, value, words):
    with pytest.raises(RequestError) as caught:
        parse(kind, {name: value})
    assert caught.value.param == name
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("kind", "sent", "param"),
    [
        ("chat", {"sampling_params": [1]}, "sampling_params"),
        ("chat", {"sampling_params": {"temperature": 0.5}, "temperature": 0.6}, "sampling_params.temperature"),
        ("chat", {"sampling_params": {"temperature": 3}}, "sampling_params.temperature"),
        ("chat", {"sampling_params": {"best_of": 3}}, "sampling_params.best_of"),
        ("chat", {"sampling_params": {"stop_token_ids": [3]}}, "sampling_params.stop_token_ids"),
        ("chat", {"format": SCHEMA, "guided_json": {}, "json_schema": {"type": "string"}}, "json_schema"),
        ("chat", {"structured_outputs": 5}, "structured_outputs"),
        ("chat", {"structured_outputs": {"regex": "a", "grammar": "b"}}, "structured_outputs.grammar"),
        ("chat", {"regex": "a", "json_schema": SCHEMA}, "regex"),
        ("chat", {"regex": 5}, "regex"),
        ("chat", {"max_tokens": -3}, "max_tokens"),
        ("chat", {"max_tokens": True}, "max_tokens"),
        ("embeddings", {"embedding_type": "base64", "encoding_format": "float"}, "embedding_type"),
        ("embeddings", {"inputs": ["a"], "input": ["b"]}, "inputs"),
        ("embeddings", {"output_dimension": 0}, "output_dimension"),
        ("transcribe", {"transcription": "srt", "response_format": "vtt"}, "transcription"),
        ("transcribe", {"enable_vad": "x"}, "enable_vad"),
    ],
)  # fmt: skip
def test_an_error_names_the_field_as_the_client_wrote_it(kind, sent, param):
    with pytest.raises((InvalidValue, UnsupportedParameter)) as caught:
        parse(kind, sent)
    assert caught.value.param == param
    assert param in caught.value.message


@pytest.mark.anyio
@pytest.mark.parametrize("body", [
    {"audio": WAV, "model": "Fake_Transcribe"}, {"audio_base64": "MTIzNDU2"}, {"inputs": "Hello"},
])  # fmt: skip
async def test_a_body_is_known_by_the_fields_of_other_servers(worker, body):
    assert "error" not in decoded(await worker.answer({"input": body}))


@pytest.mark.anyio
async def test_sound_beside_a_prompt_is_of_a_video_or_of_a_chat(worker):
    error = error_of(await worker.answer({"input": {**IMAGES, "audio": True}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", "audio")
    error = error_of(await worker.answer({"input": {**CHAT, "audio": {"voice": "a"}}}))
    assert (error["code"], error["param"]) == ("unsupported_parameter", "audio")


@pytest.mark.anyio
async def test_fields_beside_the_input_are_the_bodys(worker):
    """``runpod.Endpoint.run_sync`` sends a body that has an ``input`` as the job itself."""
    beside = {"encoding_format": "base64", "model": "Fake_Embeddings", "user": "me"}
    for given in ("Hello", ["Hello"], {"input": "Hello"}):
        answer = decoded(await worker.answer({"id": "j", "input": given, **beside}))
        assert isinstance(answer["data"][0]["embedding"], str), given
    error = error_of(await worker.answer({"id": "j", "input": ["a"], "model": "nobody"}))
    assert error["code"] == "model_not_found"
    answer = decoded(await worker.answer({"id": "j", "input": CHAT, "temperature": 0.5}))
    assert answer["choices"]
    error = error_of(await worker.answer({"id": "j", "input": CHAT, "temperature": 5}))
    assert error["param"] == "temperature"

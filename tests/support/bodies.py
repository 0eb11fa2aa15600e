"""Bodies of requests, as clients send them, and the check of an answer."""

from __future__ import annotations

import base64
from typing import Any

from pydantic import BaseModel

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
    (message(content=[{"type": "image_url", "image_url": {"url": "x"}}]), "unsupported_parameter", "messages[0].content[0].image_url"),
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


CALL = '<tool_call>\n{"name": "f", "arguments": {"a": [1, "ü"]}}\n</tool_call>'

"""``/v1/messages`` against the ``anthropic`` package's types and its client.

The fake engine says its prompt again.
"""

from __future__ import annotations

import json
from typing import Any

import anthropic
import pytest
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from pydantic import TypeAdapter

from tests.conftest import decoded, error_of
from tests.support.bodies import CALL, check
from tests.support.running import serve_worker

pytestmark = pytest.mark.anyio

ROUTE = "/v1/messages"
TOOL = {"name": "f", "description": "Does f", "input_schema": {"type": "object"}}
HELLO = [{"role": "user", "content": "Hello"}]
# What Claude Code sends, as bug reports of other servers have it.
CLAUDE_CODE: dict[str, Any] = {
    "model": "Fake_Chat",
    "max_tokens": 32_000,
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.37; cch=fa690;"},
        {"type": "text", "text": "You are a tool.", "cache_control": {"type": "ephemeral"}},
    ],
    "messages": [
        {
            "role": "user",
            "content": [{"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "abc"},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "text", "text": ""},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": [{"type": "text", "text": "12 degrees"}],
                },
                {"type": "text", "text": "", "cache_control": {"type": "ephemeral"}},
                {"type": "text", "text": "<system-reminder>x</system-reminder>"},
            ],
        },
        {"role": "system", "content": "<total_tokens>5 tokens left</total_tokens>"},
    ],
    "tools": [{**TOOL, "cache_control": {"type": "ephemeral"}, "eager_input_streaming": True}],
    "metadata": {"user_id": "user_1"},
    "thinking": {"type": "adaptive"},
    "output_config": {"effort": "high"},
    "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
    "temperature": 1,
}


def job(body: dict[str, Any], route: str = ROUTE) -> dict[str, Any]:
    return {"input": {"openai_route": route, "openai_input": body}}


async def whole(worker: Any, body: dict[str, Any]) -> Message:
    answer = decoded(await worker.answer(job({"max_tokens": 500, **body})))
    return check(Message, answer, frozenset({"warnings"}))


async def streamed(worker: Any, body: dict[str, Any]) -> list[Any]:
    body = {"max_tokens": 500, **body, "stream": True}
    lines = [line async for line in worker.stream(job(body))]
    told = [line.removeprefix("event: ").partition("\ndata: ") for line in lines]
    adapter: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
    events = [adapter.validate_python(json.loads(data)) for _, _, data in told]
    assert [kind for kind, _, _ in told] == [event.type for event in events]
    return events


async def test_a_message(worker):
    answer = await whole(worker, {"messages": HELLO, "system": "Be brief"})
    [text] = answer.content
    assert text.text == "Be brief\nHello"
    assert (answer.stop_reason, answer.stop_sequence) == ("end_turn", None)
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (15, 14)
    short = await whole(worker, {"messages": HELLO, "max_tokens": 2})
    assert (short.stop_reason, short.content[0].text) == ("max_tokens", "He")
    stopped = await whole(worker, {"messages": HELLO, "stop_sequences": ["x", "l"]})
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "l")
    assert stopped.content[0].text == "He"


async def test_what_claude_code_sends(worker):
    answer = await whole(worker, CLAUDE_CODE)
    said = "You are a tool.\nLook\n\n12 degrees\n<system-reminder>x</system-reminder>\n"
    assert answer.content[0].text == said + "<total_tokens>5 tokens left</total_tokens>"
    params = [one["param"] for one in answer.warnings]
    assert params == ["context_management", "output_config.effort"]
    strict = await worker.answer(job({**CLAUDE_CODE, "strict": True}))
    assert error_of(strict)["code"] == "unsupported_parameter"


async def test_documents_and_results_are_read(worker):
    content = [
        {
            "type": "document",
            "title": "T",
            "source": {"type": "text", "media_type": "text/plain", "data": "body;"},
        },
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "text", "text": "inner;"}]},
        },
        {
            "type": "search_result",
            "title": "S",
            "source": "here",
            "content": [{"type": "text", "text": "hit"}],
        },
        {"type": "tool_result", "tool_use_id": "t", "content": "no file", "is_error": True},
        {"type": "tool_result", "tool_use_id": "u"},
        {"type": "text", "text": "last"},
    ]
    answer = await whole(worker, {"messages": [{"role": "user", "content": content}]})
    assert answer.content[0].text == "T\nbody;inner;S\nhere\nhit\nError: no file\n\nlast"


async def test_calls(worker):
    answer = await whole(
        worker, {"messages": [{"role": "user", "content": f"Look: {CALL}"}], "tools": [TOOL]}
    )
    text, call = answer.content
    assert (text.text, call.name, call.input) == ("Look:", "f", {"a": [1, "ü"]})
    assert answer.stop_reason == "tool_use"
    assert call.id.startswith("toolu_")


async def test_a_call_that_is_cut_keeps_its_text(worker):
    body = {"messages": [{"role": "user", "content": CALL}], "tools": [TOOL]}
    [call] = (await whole(worker, {**body, "max_tokens": 50})).content
    assert call.input == {"INVALID_JSON": '{"a": [1'} or set(call.input) == {"INVALID_JSON"}


async def test_a_stream(worker):
    body = {
        "messages": [{"role": "user", "content": f"<think>Hm.</think>Look: {CALL}"}],
        "tools": [TOOL],
    }
    events = await streamed(worker, body)
    kinds = [event.type for event in events]
    assert (kinds[0], kinds[-2:]) == ("message_start", ["message_delta", "message_stop"])
    assert kinds.count("content_block_start") == kinds.count("content_block_stop") == 3
    blocks = [event.content_block.type for event in events if event.type == "content_block_start"]
    assert blocks == ["thinking", "text", "tool_use"]
    deltas = [(event.index, event.delta) for event in events if event.type == "content_block_delta"]
    assert "".join(one.thinking for at, one in deltas if one.type == "thinking_delta") == "Hm."
    assert "".join(one.text for at, one in deltas if one.type == "text_delta") == "Look:"
    told = "".join(one.partial_json for at, one in deltas if one.type == "input_json_delta")
    assert json.loads(told) == {"a": [1, "ü"]}
    assert [at for at, _ in deltas] == sorted(at for at, _ in deltas)
    assert events[0].message.usage.input_tokens > 0
    assert events[-2].delta.stop_reason == "tool_use"
    assert events[-2].usage.output_tokens > 0


async def test_reasoning_that_is_not_to_be_shown(worker):
    body = {
        "messages": [{"role": "user", "content": "<think>Hm.</think>So"}],
        "thinking": {"type": "adaptive", "display": "omitted"},
    }
    assert [block.type for block in (await whole(worker, body)).content] == ["text"]
    shown = await whole(worker, {**body, "thinking": {"type": "enabled", "budget_tokens": 1024}})
    assert [block.type for block in shown.content] == ["thinking", "text"]
    assert {one["param"] for one in shown.warnings} == {"thinking.budget_tokens"}
    assert shown.usage.output_tokens_details.thinking_tokens > 0


async def test_an_answer_that_goes_on(worker):
    messages = [*HELLO, {"role": "assistant", "content": [{"type": "text", "text": "So"}]}]
    assert (await whole(worker, {"messages": messages})).content[0].text == "Hello\nSo"


async def test_a_count(worker):
    body = {key: CLAUDE_CODE[key] for key in ("model", "system", "messages", "tools", "thinking")}
    answer = decoded(await worker.answer(job(body, f"{ROUTE}/count_tokens")))
    counted = check(MessageTokensCount, answer).input_tokens
    assert counted == (await whole(worker, CLAUDE_CODE)).usage.input_tokens


async def test_an_answer_by_a_schema(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG="Tiny_Llama")
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "schema": schema}
    for field in ({"output_config": {"format": form}}, {"output_format": form}):
        answer = await whole(worker, {"messages": HELLO, **field})
        assert json.loads(answer.content[0].text)["a"] in (1, 2)


def user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "messages"),
        ({"messages": []}, "invalid_value", "messages"),
        ({"messages": HELLO, "max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"messages": HELLO, "temperature": 1.5}, "invalid_value", "temperature"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "invalid_value", "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "missing_required_parameter", "messages[0].content"),
        ({"messages": [{"role": "user", "content": 5}]}, "invalid_type", "messages[0].content"),
        (user("a"), "invalid_value", "messages[0].content[0]"),
        (user({"type": "text"}), "missing_required_parameter", "messages[0].content[0].text"),
        (user({"type": "text", "text": "\ud800"}), "invalid_value", "messages[0].content[0]"),
        (user({"type": "container_upload", "file_id": "f"}), "unsupported_parameter", "messages[0].content[0]"),
        (user({"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "YQ=="}}), "unsupported_parameter", "messages[0].content[0].source"),
        (user({"type": "image", "source": {"type": "file", "file_id": "f"}}), "unsupported_parameter", "messages[0].content[0].source"),
        (user({"type": "tool_result", "content": "a"}), "missing_required_parameter", "messages[0].content[0].tool_use_id"),
        ({"messages": [*HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": 5, "input": {}}]}]}, "invalid_type", "messages[1].content[0].name"),
        ({"messages": [*HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": "{}"}]}]}, "invalid_type", "messages[1].content[0].input"),
        ({"messages": HELLO, "system": [{"type": "image"}]}, "invalid_value", "system[0]"),
        ({"messages": HELLO, "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "unsupported_parameter", "tools[0].type"),
        ({"messages": HELLO, "tools": [{"name": "a b", "input_schema": {}}]}, "invalid_value", "tools[0].name"),
        ({"messages": HELLO, "tools": [TOOL], "tool_choice": {"type": "tool"}}, "missing_required_parameter", "tool_choice.name"),
        ({"messages": HELLO, "tools": [TOOL], "tool_choice": {"type": "tool", "name": "g"}}, "invalid_value", "tool_choice.name"),
        ({"messages": HELLO, "tool_choice": {"type": "any"}}, "invalid_value", "tool_choice"),
        ({"messages": HELLO, "stop_sequences": ["a"] * 5}, "invalid_value", "stop_sequences"),
        ({"messages": HELLO, "mcp_servers": [{"url": "https://a"}]}, "unsupported_parameter", "mcp_servers"),
        ({"messages": HELLO, "thinking": {"type": "often"}}, "invalid_value", "thinking.type"),
        ({"messages": HELLO, "prompt": "a"}, "unsupported_parameter", "prompt"),
        ({"messages": HELLO, "model": "claude-opus-5"}, "model_not_found", "model"),
    ],
)  # fmt: skip
async def test_what_is_refused(worker, body, code, param):
    error = error_of(await worker.answer(job({"max_tokens": 5, **body})))
    assert (error["code"], error["param"]) == (code, param)


@pytest.fixture(scope="module")
def client():
    with serve_worker(SURFACE="chat", FAKE_ENGINES="1") as url:
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as made:
            yield made


def test_the_client(client):
    # The client streams what may take long, and no longer has a temperature.
    body = {**CLAUDE_CODE, "max_tokens": 4096}
    del body["temperature"]
    answer = client.beta.messages.create(**body, betas=["context-management-2025-06-27"])
    assert answer.content[0].text.startswith("You are a tool.\nLook")
    body = {"model": "Fake_Chat", "max_tokens": 100, "tools": [TOOL]}
    messages = [{"role": "user", "content": f"So {CALL}"}]
    with client.messages.stream(**body, messages=messages) as events:
        assert "".join(events.text_stream) == "So"
        final = events.get_final_message()
    assert (final.stop_reason, final.content[1].input) == ("tool_use", {"a": [1, "ü"]})
    # An answer goes back as it came.
    again = [
        *messages,
        {"role": "assistant", "content": final.content},
        user({"type": "tool_result", "tool_use_id": final.content[1].id, "content": "done"})[
            "messages"
        ][0],
    ]
    blocks = client.messages.create(**body, messages=again).content
    assert "done" in "".join(block.text for block in blocks if block.type == "text")
    beta = client.beta.messages.create(**body, messages=HELLO, betas=["context-1m-2025-08-07"])
    assert beta.content[0].text == "Hello"
    counted = client.messages.count_tokens(model="Fake_Chat", messages=HELLO)
    assert counted.input_tokens == 6


def test_the_client_knows_errors(client):
    with pytest.raises(anthropic.NotFoundError) as missing:
        client.messages.create(model="claude-opus-5", max_tokens=5, messages=HELLO)
    assert missing.value.body["type"] == "error"
    assert missing.value.body["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as refused:
        client.messages.create(
            model="Fake_Chat", max_tokens=5, messages=HELLO, stop_sequences=["a"] * 5
        )
    assert refused.value.body["error"]["param"] == "stop_sequences"
    with pytest.raises(anthropic.BadRequestError):
        client.messages.create(model="Fake_Chat", max_tokens=5, messages=[], stream=True)
    with pytest.raises(anthropic.BadRequestError) as unread:
        client.post("/v1/messages", cast_to=object, body=[1])
    assert unread.value.body["error"]["type"] == "invalid_request_error"


def test_an_error_within_a_stream_reaches_the_client():
    """Its client reads named events alone: an error that is not one would be lost."""
    with serve_worker(SURFACE="chat", FAKE_ENGINES="1", OUTPUT_LIMIT_BYTES="2000") as url:
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            long = [{"role": "user", "content": "word " * 2000}]
            with pytest.raises(anthropic.APIStatusError) as cut:
                list(
                    client.messages.create(
                        model="Fake_Chat", max_tokens=10_000, messages=long, stream=True
                    )
                )
    assert cut.value.body["error"]["code"] == "output_too_large"

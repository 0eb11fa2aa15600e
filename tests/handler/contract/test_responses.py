"""``/v1/responses`` against the ``openai`` package's types; the fake engine says its prompt again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from handler.contract.chat.responses.request import ResponsesRequest
from tests.conftest import decoded, error_of
from tests.support.bodies import CALL, check

pytestmark = pytest.mark.anyio

ROUTE = "/v1/responses"
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def job(body: dict[str, Any]) -> dict[str, Any]:
    return {"input": {"openai_route": ROUTE, "openai_input": body}}


async def whole(worker: Any, body: dict[str, Any]) -> Response:
    return check(Response, decoded(await worker.answer(job(body))))


async def streamed(worker: Any, body: dict[str, Any]) -> list[Any]:
    lines = [line async for line in worker.stream(job({**body, "stream": True}))]
    told = [line.removeprefix("event: ").partition("\ndata: ") for line in lines]
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    events = [adapter.validate_python(json.loads(data)) for _, _, data in told]
    assert [kind for kind, _, _ in told] == [event.type for event in events]
    return events


async def test_a_response(worker):
    answer = await whole(worker, {"input": "Hello"})
    assert answer.output_text == "Hello"
    assert answer.status == "completed"
    assert answer.model == "Fake_Chat"
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (6, 5)
    short = await whole(worker, {"input": "Hello", "max_output_tokens": 2})
    assert (short.status, short.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert short.output_text == "He"


async def test_what_was_said_before_comes_with_it(worker):
    body = {
        "instructions": "Be brief",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "How warm?"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "12 degrees"},
            {"type": "message", "role": "user", "content": "And then?"},
        ],
        "tools": [TOOL],
    }
    answer = await whole(worker, body)
    assert answer.output_text == "Be brief\nHow warm?\n\n12 degrees\nAnd then?"
    assert answer.instructions == "Be brief"


async def test_calls(worker):
    answer = await whole(worker, {"input": f"Look: {CALL}", "tools": [TOOL]})
    message, call = answer.output
    assert message.content[0].text == "Look:"
    assert (call.type, call.name) == ("function_call", "f")
    assert json.loads(call.arguments) == {"a": [1, "ü"]}
    alone = await whole(worker, {"input": CALL, "tools": [TOOL]})
    assert [item.type for item in alone.output] == ["function_call"]


async def test_a_stream(worker):
    events = await streamed(worker, {"input": f"Look: {CALL}", "tools": [TOOL]})
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds[:4] == ["created", "in_progress", "output_item.added", "content_part.added"]
    assert kinds[-1] == "completed"
    assert kinds.count("output_item.added") == kinds.count("output_item.done") == 2
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == "Look:"
    [done] = [one for one in events if one.type == "response.function_call_arguments.done"]
    assert json.loads(done.arguments) == {"a": [1, "ü"]}
    final = events[-1].response
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.output[0].content[0].text == "Look:"
    assert final.usage.output_tokens > 0
    assert events[0].response.usage is None
    assert {event.response.id for event in (events[0], events[-1])} == {final.id}


async def test_an_answer_by_a_schema(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG="Tiny_Llama")
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "name": "x", "schema": schema, "strict": True}
    answer = await whole(worker, {"input": "A number", "text": {"format": form}})
    assert json.loads(answer.output_text)["a"] in (1, 2)
    assert answer.text.format.name == "x"


@pytest.mark.parametrize(
    ("body", "code", "param"),
    [
        ({}, "missing_required_parameter", "input"),
        ({"input": ""}, "invalid_value", "input"),
        ({"input": "a", "previous_response_id": "resp_1"}, "unsupported_parameter", "previous_response_id"),
        ({"input": "a", "store": True}, "unsupported_parameter", "store"),
        ({"input": "a", "conversation": "c"}, "unsupported_parameter", "conversation"),
        ({"input": "a", "background": True}, "unsupported_parameter", "background"),
        ({"input": "a", "temperature": 3}, "invalid_value", "temperature"),
        ({"input": "a", "max_output_tokens": 0}, "invalid_value", "max_output_tokens"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "invalid_value", "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "invalid_value", "input[0].content[0]"),
        ({"input": [{"role": "robot", "content": "a"}]}, "invalid_value", "input[0].role"),
        ({"instructions": "Be", "input": [{"role": "user", "content": "a"}, {"role": "user", "content": 5}]}, "invalid_type", "input[1].content"),
        ({"input": [{"type": "reasoning", "summary": []}, {"type": "function_call", "call_id": "c", "name": 5, "arguments": "5"}]}, "invalid_type", "input[1].name"),
        ({"input": [{"role": "assistant", "content": "a"}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}, {"type": "function_call", "call_id": "c", "name": "f", "arguments": ["a"]}]}, "invalid_type", "input[2].arguments"),
        ({"input": [{"type": "function_call_output", "output": "a"}]}, "missing_required_parameter", "input[0].call_id"),
        ({"input": [{"type": "reasoning", "summary": []}]}, "invalid_value", "input"),
        ({"input": "a", "tool_choice": "required"}, "invalid_value", "tool_choice"),
        ({"input": "a", "metadata": {"a": 1}}, "invalid_type", "metadata.a"),
        ({"input": "a", "metadata": {"a": "\ud800"}}, "invalid_value", "metadata.a"),
        ({"input": "a", "tools": [{**TOOL, "parameters": {"description": "\ud800"}}]}, "invalid_value", "tools[0].parameters"),
        ({"input": "a", "continue_final_message": True}, "invalid_value", "continue_final_message"),
        ({"input": [{"role": "user", "content": [{"type": [], "text": "a"}]}]}, "invalid_value", "input[0].content[0]"),
        ({"input": "a", "text": {"verbosity": "low"}}, "unsupported_parameter", "text.verbosity"),
        ({"input": "a", "text": {"format": {"type": "json_schema", "schema": {}}}}, "missing_required_parameter", "text.format.name"),
        ({"input": "a", "text": {"format": {"type": "json_schema", "name": "x"}}}, "missing_required_parameter", "text.format.schema"),
        ({"input": "a", "n": 2}, "unsupported_parameter", "n"),
        ({"input": "a", "logprobs": True}, "unsupported_parameter", "logprobs"),
        ({"input": "a", "truncation": "auto"}, "unsupported_parameter", "truncation"),
        ({"input": "a", "include": ["message.output_text.logprobs"]}, "unsupported_parameter", "include[0]"),
        ({"input": "a", "reasoning": {"effort": "high"}, "strict": True}, "unsupported_parameter", "reasoning.effort"),
        ({"input": "a", "reasoning": {"summary": "auto"}, "strict": True}, "unsupported_parameter", "reasoning.summary"),
        ({"input": "a", "reasoning": {"effort": "often"}}, "invalid_value", "reasoning.effort"),
        ({"input": "a", "tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}}, "invalid_value", "tool_choice.tools[0].name"),
        ({"input": "a", "tools": [TOOL], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "invalid_value", "tool_choice"),
        ({"input": "a", "presence_penalty": 3}, "invalid_value", "presence_penalty"),
        ({"input": "a", "max_tokens": 0}, "invalid_value", "max_tokens"),
        ({"input": "a", "messages": [{"role": "user", "content": "b"}]}, "unsupported_parameter", "messages"),
        ({"input": "a", "stop_token_ids": [1]}, "unsupported_parameter", "stop_token_ids"),
        ({"input": "a", "tools": [{**TOOL, "name": "no name"}]}, "invalid_value", "tools[0].name"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "invalid_value", "tools[0].type"),
        ({"input": "a", "tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}}, "invalid_value", "tool_choice.name"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_name(worker, body, code, param):
    error = error_of(await worker.answer(job(body)))
    assert (error["code"], error["param"]) == (code, param)


async def test_an_engines_errors_carry_the_names_of_responses(make_worker):
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG="Tiny_Llama")
    error = error_of(await worker.answer(job({"input": "word " * 5000})))
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input")
    form = {"type": "json_schema", "name": "x", "schema": {"not": {}}}
    error = error_of(await worker.answer(job({"input": "a", "text": {"format": form}})))
    assert (error["code"], error["param"]) == ("unsupported_schema", "text.format.schema")
    assert error["message"].startswith("text.format.schema cannot be honoured: #/not is")


async def test_what_is_said_and_called_is_one_turn_of_a_chat():
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    items = [
        {"role": "user", "content": "How warm?"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hm."}]},
        {**call, "call_id": "a"},
        {**call, "call_id": "b"},
        {"type": "function_call_output", "call_id": "a", "output": ""},
        {"type": "function_call_output", "call_id": "b", "output": "12"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ]  # fmt: skip
    turns = ResponsesRequest.parse({"input": items}).chat.conversation
    assert [turn["role"] for turn in turns] == ["user", "assistant", "tool", "tool", "assistant"]
    assert turns[1]["content"] == "Hm."
    assert [one["id"] for one in turns[1]["tool_calls"]] == ["a", "b"]
    assert turns[4]["content"] == "No."


async def test_thoughts_are_items(worker):
    body = {"input": "<think>Hm. Well.</think> It is 12.", "metadata": {"a": "b"}}
    answer = await whole(worker, body)
    assert [item.type for item in answer.output] == ["reasoning", "message"]
    assert answer.output[0].content[0].text == "Hm. Well."
    assert answer.output_text == "It is 12."
    assert answer.metadata == {"a": "b"}
    events = await streamed(worker, body)
    kinds = [event.type.removeprefix("response.") for event in events]
    assert kinds.count("output_item.added") == kinds.count("output_item.done") == 2
    told = {"reasoning_text": "Hm. Well.", "output_text": "It is 12."}
    for kind, text in told.items():
        deltas = [one.delta for one in events if one.type == f"response.{kind}.delta"]
        assert "".join(deltas) == text
    assert [item.type for item in events[-1].response.output] == ["reasoning", "message"]


async def test_chats_further_fields_are_honoured(worker):
    answer = await whole(worker, {"input": "One. Two.", "stop": "Two", "max_tokens": 100})
    assert answer.output_text == "One. "
    assert answer.max_output_tokens == 100


@pytest.mark.parametrize("text", ["x" + CALL + " y", CALL + "after", "<think>a</think>", "a", ""])
async def test_a_whole_answer_is_what_its_stream_ends_with(worker, text):
    body = {"input": text + "|", "stop": "|", "tools": [TOOL]}
    answer = await whole(worker, body)
    *_, last = await streamed(worker, body)

    def shown(items: Any) -> list[Any]:
        return [(one.type, getattr(one, "name", None) or one.content[0].text) for one in items]

    assert shown(answer.output) == shown(last.response.output)
    assert answer.output


async def test_thought_tokens_are_counted(worker):
    answer = await whole(worker, {"input": "<think>abc</think>d"})
    thought = answer.usage.output_tokens_details.reasoning_tokens
    assert 3 <= thought <= len("<think>abc</think>")


@pytest.mark.parametrize(
    "fields",
    [
        {"include": ["reasoning.encrypted_content"]},
        {"include": ["file_search_call.results", "web_search_call.action.sources"]},
        {"reasoning": {"effort": None, "summary": None}},
        {"reasoning": {"effort": "none"}},
        {"reasoning": {}},
        {"truncation": "disabled"},
    ],
)
async def test_what_asks_for_nothing_is_taken(worker, fields):
    answer = await whole(worker, {"input": "Hello", "strict": True, **fields})
    assert answer.output_text == "Hello"


async def test_a_cut_call_is_incomplete(worker):
    body = {"input": CALL, "tools": [TOOL], "max_output_tokens": len(CALL.encode()) - 20}
    answer = await whole(worker, body)
    [item] = answer.output
    assert (answer.status, item.type, item.status) == ("incomplete", "function_call", "incomplete")
    assert item.arguments.startswith('{"a": ')
    events = await streamed(worker, body)
    done = next(event for event in events if event.type == "response.output_item.done")
    assert done.item.status == "incomplete"
    # The conversation goes on with it.
    call = {"type": "function_call", **item.model_dump(include={"call_id", "name", "arguments"})}
    output = {"type": "function_call_output", "call_id": item.call_id, "output": "cut"}
    again = await whole(worker, {"input": [{"role": "user", "content": "a"}, call, output]})
    assert again.status == "completed"


async def test_allowed_tools_are_all_that_the_model_sees():
    other = {**TOOL, "name": "g"}
    allowed = {"type": "allowed_tools", "tools": [{"type": "function", "name": "g"}]}
    for mode, must in (("auto", False), ("required", True)):
        choice = {**allowed, "mode": mode}
        request = ResponsesRequest.parse(
            {"input": "a", "tools": [TOOL, other], "tool_choice": choice}
        )
        told = [tool.function.name for tool in request.chat.told_tools.values()]
        assert (told, request.chat.must_call) == (["g"], must)


async def test_reasoning_options_that_the_model_lacks_are_warned_of(worker):
    """Codex sends them with every request."""
    body = {"input": "Hello", "reasoning": {"effort": "medium", "summary": "auto"}}
    answer = check(Response, decoded(await worker.answer(job(body))), frozenset({"warnings"}))
    assert answer.output_text == "Hello"
    assert answer.reasoning.effort == "medium"
    assert [one["param"] for one in answer.warnings] == ["reasoning.summary", "reasoning.effort"]

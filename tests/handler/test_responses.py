"""``/v1/responses`` against the ``openai`` package's types; the fake engine says its prompt again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.conftest import decoded, error_of
from tests.handler.test_chat import CALL
from tests.handler.test_contract import check

pytestmark = pytest.mark.anyio

ROUTE = "/v1/responses"
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def job(body: dict[str, Any]) -> dict[str, Any]:
    return {"input": {"openai_route": ROUTE, "openai_input": body}}


async def whole(worker: Any, body: dict[str, Any]) -> Response:
    return check(Response, decoded(await worker.answer(job(body))))


async def streamed(worker: Any, body: dict[str, Any]) -> list[Any]:
    lines = [line async for line in worker.stream(job({**body, "stream": True}))]
    assert lines.pop() == "data: [DONE]\n\n"
    told = [json.loads(line.removeprefix("data: ")) for line in lines]
    adapter: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    return [adapter.validate_python(one) for one in told]


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
    assert message.content[0].text == "Look: "
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
    assert text == "Look: "
    [done] = [one for one in events if one.type == "response.function_call_arguments.done"]
    assert json.loads(done.arguments) == {"a": [1, "ü"]}
    final = events[-1].response
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.output[0].content[0].text == "Look: "
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
        ({"input": [{"role": "robot", "content": "a"}]}, "invalid_value", "input"),
        ({"input": "a", "tools": [{"type": "web_search"}]}, "invalid_value", "tools[0].type"),
        ({"input": "a", "tools": [TOOL], "tool_choice": {"type": "function", "name": "g"}}, "invalid_value", "tool_choice"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_name(worker, body, code, param):
    error = error_of(await worker.answer(job(body)))
    assert (error["code"], error["param"]) == (code, param)

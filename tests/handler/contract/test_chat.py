"""What chat makes of an engine's tokens: choices, calls, thoughts, logprobs, stop strings.

The fake engine says the prompt again, so that a test writes its answer.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Any

import pytest
from openai.types import Completion
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from handler.contract.chat.choice import ChoiceText
from handler.contract.chat.request import ChatRequest
from models.chat.families import FAMILIES
from models.chat.reading import Reading
from models.chat.request import Called, Logprob, Said
from models.errors import InvalidValue
from models.fake_chat import FakeText
from tests.conftest import decoded, error_of, needs
from tests.support.bodies import CALL, CHAT, TOOL, check

pytestmark = pytest.mark.anyio

EXTENSIONS = {"notice", "reasoning_content"}


def saying(text: str, **fields: Any) -> dict[str, Any]:
    return {"input": {"messages": [{"role": "user", "content": text}], **fields}}


async def whole(worker: Any, job: dict[str, Any]) -> ChatCompletion:
    return check(ChatCompletion, decoded(await worker.answer(job)), EXTENSIONS)


async def streamed(worker: Any, job: dict[str, Any]) -> list[ChatCompletionChunk]:
    job = {"input": {**job["input"], "stream": True}}
    return [check(ChatCompletionChunk, event, EXTENSIONS) async for event in worker.stream(job)]


# Choices -----------------------------------------------------------------------------------------


async def test_choices(worker):
    answer = await whole(worker, saying("Hello", n=3, max_tokens=4))
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert {choice.message.content for choice in answer.choices} == {"Hell"}
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage.prompt_tokens == 6
    assert answer.usage.completion_tokens == 12


async def test_choices_interleave(make_worker):
    worker = make_worker(FAKE_DELAY_S="0.02")
    chunks = await streamed(worker, saying("Hello, you three!", n=2))
    order = [chunk.choices[0].index for chunk in chunks]
    assert sorted(order) != order
    for index in (0, 1):
        own = [chunk.choices[0] for chunk in chunks if chunk.choices[0].index == index]
        assert own[0].delta.role == "assistant"
        assert "".join(one.delta.content or "" for one in own) == "Hello, you three!"
        assert [one.finish_reason for one in own if one.finish_reason] == ["stop"]
        assert own[-1].finish_reason == "stop"


async def test_a_stop_string_ends_its_choice_and_what_follows_is_not_paid_for(worker):
    answer = await whole(worker, saying("One. Two. Three", stop=["Two", "zzz"], n=2))
    assert {choice.message.content for choice in answer.choices} == {"One. "}
    assert {choice.finish_reason for choice in answer.choices} == {"stop"}
    assert answer.usage.completion_tokens == 2 * len("One. Two")


# Calls -------------------------------------------------------------------------------------------


async def test_a_call(worker):
    answer = await whole(worker, saying(f"Let me see.{CALL}", tools=[TOOL]))
    [choice] = answer.choices
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    [call] = choice.message.tool_calls
    assert call.type == "function"
    assert call.id.startswith("call_")
    assert call.function.name == "f"
    assert json.loads(call.function.arguments) == {"a": [1, "ü"]}
    alone = await whole(worker, saying(CALL, tools=[TOOL]))
    assert alone.choices[0].message.content is None


async def test_calls_in_a_stream(worker):
    job = saying(f"Now:{CALL}\n{CALL}", tools=[TOOL])
    chunks = await streamed(worker, job)
    deltas = [chunk.choices[0].delta for chunk in chunks]
    assert "".join(delta.content or "" for delta in deltas).strip() == "Now:"
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [call.index for call in calls] == [0, 0, 1, 1]
    for named, filled in (calls[:2], calls[2:]):
        assert (named.function.name, named.function.arguments) == ("f", "")
        assert named.id.startswith("call_")
        assert (filled.id, filled.function.name) == (None, None)
        assert json.loads(filled.function.arguments) == {"a": [1, "ü"]}
    assert calls[0].id != calls[2].id
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "text",
    [
        '<tool_call>{"name": "f", "arguments": {"a": 1}',
        "<tool_call>\nnot JSON\n</tool_call>",
        '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>',
        '<tool_call>\n{"name": "f", "arguments": [1]}\n</tool_call>',
        '<tool_call>\n{"arguments": {}}\n</tool_call>',
    ],
)
async def test_what_is_no_call_is_text(worker, text):
    answer = await whole(worker, saying(text, tools=[TOOL]))
    [choice] = answer.choices
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"
    said = choice.message.content
    assert said.strip("<>/_acltno\n") == text.strip("<>/_acltno\n")
    chunks = await streamed(worker, saying(text, tools=[TOOL]))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said


async def test_without_tools_nothing_is_a_call(worker):
    for fields in ({}, {"tools": [TOOL], "tool_choice": "none"}):
        answer = await whole(worker, saying(CALL, **fields))
        assert answer.choices[0].message.content == CALL


async def test_a_conversation_with_calls(worker):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "user", "content": "How warm is it?", "name": "Ada"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "12 degrees", "tool_call_id": "c"},
    ]
    answer = await whole(worker, {"input": {"messages": messages, "tools": [TOOL]}})
    assert answer.choices[0].message.content.endswith("12 degrees")


async def test_thoughts_are_apart(worker):
    job = saying("<think>Hm. Well.</think>It is 12.")
    answer = await whole(worker, job)
    message = answer.choices[0].message
    assert message.content == "It is 12."
    assert message.reasoning_content == "Hm. Well."
    deltas = [chunk.choices[0].delta.model_dump() for chunk in await streamed(worker, job)]
    assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == "Hm. Well."
    assert "".join(delta.get("content") or "" for delta in deltas) == "It is 12."


@pytest.mark.parametrize(
    "told",
    [
        '{"name": ["f"], "arguments": {}}',
        '{"name": {"f": 1}, "arguments": {}}',
        '{"name": "f", "arguments": {"a": NaN}}',
        '{"name": "f", "arguments": {"a": -Infinity}}',
        '{"name": "f", "arguments": {"a": 1e999}}',
        f'{{"name": "f", "arguments": {{"a": {"9" * 5000}}}}}',
        f'{{"name": "f", "arguments": {{"a": {"[" * 3000}1{"]" * 3000}}}}}',
        '{"name": "f", "arguments": {"a": "\\ud800x',
    ],
)
async def test_what_json_does_not_have_is_no_call(worker, told):
    text = f"Now: <tool_call>{told}</tool_call> then"
    for choice in (await whole(worker, saying(text, tools=[TOOL]))).choices:
        assert choice.message.tool_calls is None
        assert choice.message.content == text
        assert choice.finish_reason == "stop"


async def test_half_a_character_is_an_escape(worker):
    told = '<tool_call>{"name": "f", "arguments": {"a": "\\ud800"}}</tool_call>'
    [choice] = (await whole(worker, saying(told, tools=[TOOL]))).choices
    arguments = choice.message.tool_calls[0].function.arguments
    assert arguments.encode() == b'{"a": "\\ud800"}'


async def test_white_space_around_calls_and_thoughts_is_nobodys(worker):
    text = f"<think>\nHm.\n\n</think>\n\nSee:\n\n{CALL}\n{CALL}\n"
    [choice] = (await whole(worker, saying(text, tools=[TOOL]))).choices
    assert choice.message.reasoning_content == "Hm."
    assert choice.message.content == "See:"
    assert len(choice.message.tool_calls) == 2


async def test_one_call_where_one_is_wanted(worker):
    job = saying(f"{CALL}\n{CALL} and more", tools=[TOOL], parallel_tool_calls=False)
    [choice] = (await whole(worker, job)).choices
    assert choice.finish_reason == "tool_calls"
    assert len(choice.message.tool_calls) == 1
    chunks = await streamed(worker, job)
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert {call.index for call in calls} == {0}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


async def test_the_first_event_comes_before_the_first_word(make_worker):
    worker = make_worker(FAKE_DELAY_S="0.3")
    job = {"input": {**saying("<think>Hm.</think>ok")["input"], "stream": True}}
    start, events = time.monotonic(), []
    async for event in worker.stream(job):
        events.append((time.monotonic() - start, event["choices"][0]["delta"]))
    at, first = events[0]
    assert first == {"role": "assistant", "content": ""}
    assert at + 0.5 < events[1][0]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"stop_token_ids": [1]}, "stop_token_ids"),
        ({"guided_grammar": "root ::= x"}, "guided_grammar"),
        ({"structured_outputs": {"grammar": "a"}}, "structured_outputs.grammar"),
        ({"include_stop_str_in_output": True}, "include_stop_str_in_output"),
        ({"skip_special_tokens": False}, "skip_special_tokens"),
        ({"chat_template": "{{ x }}"}, "chat_template"),
        ({"add_generation_prompt": False}, "add_generation_prompt"),
        ({"continue_final_message": True}, "continue_final_message"),
        ({"logit_bias": {"9" * 5000: 1}}, "logit_bias"),
        ({"top_k": -2}, "top_k"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
        ({"min_tokens": 9, "guided_choice": ["a"]}, "min_tokens"),
        ({"ignore_eos": True, "response_format": {"type": "json_object"}}, "ignore_eos"),
        ({"chat_template_kwargs": {"a": "\ud800"}}, "chat_template_kwargs"),
        ({"guided_json": {"title": "\ud800"}}, "guided_json"),
        ({"tools": [TOOL], "tool_choice": "required", "guided_choice": ["a"]}, "guided_choice"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "array"}}}]},
            "tools[0].function.parameters",
        ),
    ],
)  # fmt: skip
async def test_what_is_not_done_is_refused_by_name(worker, fields, param):
    assert error_of(await worker.answer(saying("x", **fields)))["param"] == param


@pytest.mark.parametrize(
    "fields",
    [
        {"skip_special_tokens": True, "add_generation_prompt": True, "top_k": -1},
        {"tools": [{**TOOL, "function": {**TOOL["function"], "strict": None}}]},
        {"stream_options": {"include_usage": None}, "stream": False},
        {"continue_final_message": False},
        {"max_tokens": 10**30},
    ],
)
async def test_what_asks_for_nothing_is_taken(worker, fields):
    answer = await whole(worker, saying("Hello", **fields))
    assert answer.choices[0].message.content == "Hello"


async def test_a_message_may_be_empty(worker):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "system", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "", "tool_call_id": "c"},
        {"role": "user", "content": "End"},
    ]
    answer = await whole(worker, {"input": {"messages": messages, "tools": [TOOL]}})
    assert answer.choices[0].message.content.strip() == "End"


async def test_a_prefix_of_the_assistants_is_not_said_again(tiny):
    """Even where it ends like the beginning of a mark."""
    family = FAMILIES["hermes"]
    for prefix in ("1 <", "a <thi", "<tool_cal"):
        reading = Reading(family, f"<|im_start|>assistant\n{prefix}", [TOOL])
        pieces = [*reading.push(" b"), *reading.end()]
        assert "".join(piece.text for piece in pieces) == " b"


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ('{"city": "Oslo", "days": 3}', {"city": "Oslo", "days": 3}),
        ("", {}),
        ("null", {}),
        (None, {}),
        ('{"city": "Os', {"arguments": '{"city": "Os'}),
        ("city=Oslo", {"arguments": "city=Oslo"}),
        ('["Oslo"]', {"arguments": '["Oslo"]'}),
        ("5", {"arguments": "5"}),
        ('{"a": "\\ud800"}', {"arguments": '{"a": "\\ud800"}'}),
        ('{"a": 1e999}', {"arguments": '{"a": 1e999}'}),
        ('{"a": ' * 500 + "1" + "}" * 500, {"arguments": '{"a": ' * 500 + "1" + "}" * 500}),
    ],
)
async def test_a_conversation_goes_on_after_arguments_of_any_text(tiny, arguments, values):
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "b", "tool_call_id": "c"},
    ]
    request = ChatRequest.parse({"messages": messages, "tools": [TOOL]})
    assert request.conversation[1]["tool_calls"][0]["function"]["arguments"] == values
    job = {"input": {"messages": messages, "tools": [TOOL], "max_tokens": 1}}
    if len(arguments or "") > 1000:  # the tiny model's context is short
        return
    answer = decoded(await tiny.answer(job))
    assert answer["choices"][0]["finish_reason"] in ("length", "stop")


async def test_a_form_beside_a_prefix_is_refused(tiny):
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "{"}]
    job = {"input": {"messages": messages, "response_format": {"type": "json_object"}}}
    assert error_of(await tiny.answer(job))["param"] == "response_format"


async def test_a_number_beyond_all_bounds_harms_nobody(tiny):
    many = [
        tiny.answer(saying("x", max_tokens=5, seed=1, **more)) for more in ({"top_k": 10**400}, {})
    ]
    for answer in await asyncio.gather(*many):
        assert decoded(answer)["usage"]["completion_tokens"] <= 5


async def test_an_odd_letter_in_a_choice(tiny):
    answer = await whole(tiny, saying("x", guided_choice=["\x7f", "a\tb"], seed=1))
    assert answer.choices[0].message.content in ("\x7f", "a\tb")


async def test_what_is_refused_is_an_error_alone_also_with_an_echo(tiny):
    body = {"prompt": "a", "echo": True, "guided_regex": "[", "stream": True}
    job = {"input": {"openai_route": "/v1/completions", "openai_input": body}}
    first = await anext(tiny.stream(job))
    assert "error" in json.dumps(first)


async def test_a_body_nested_too_deeply_is_refused(tiny):
    deep: Any = {"type": "object"}
    for _ in range(900):
        deep = {"type": "object", "properties": {"a": deep}}
    tool = {"type": "function", "function": {"name": "f", "parameters": deep}}
    for fields in ({"tools": [tool]}, {"guided_json": deep}):
        error = error_of(await tiny.answer(saying("x", **fields)))
        assert error["type"] == "invalid_request_error"


# Logprobs ----------------------------------------------------------------------------------------


async def test_logprobs(worker):
    answer = await whole(worker, saying("Hü", logprobs=True, top_logprobs=1))
    told = answer.choices[0].logprobs.content
    assert [bytes(one.bytes) for one in told] == [b"H", b"\xc3", b"\xbc"]
    assert [one.logprob for one in told] == [0.0, 0.0, 0.0]
    assert [len(one.top_logprobs) for one in told] == [1, 1, 1]
    assert answer.choices[0].message.content == "Hü"
    chunks = await streamed(worker, saying("Hü", logprobs=True))
    told = [
        one for chunk in chunks if (c := chunk.choices[0]).logprobs for one in c.logprobs.content
    ]
    assert [bytes(one.bytes) for one in told] == [b"H", b"\xc3", b"\xbc"]
    assert all(one.top_logprobs == [] for one in told)
    plain = await whole(worker, {"input": CHAT})
    assert plain.choices[0].logprobs is None


async def test_logprobs_end_with_the_text(worker):
    """Of a stop string, and of what is held back for one, nothing is told too early."""
    answer = await whole(worker, saying("One. Two", stop="Two", logprobs=True))
    told = answer.choices[0].logprobs.content
    assert b"".join(bytes(one.bytes) for one in told) == b"One. "


async def test_completions_have_the_older_form(worker):
    body = {"prompt": ["ab", "cd"], "logprobs": 1, "n": 2}
    job = {"input": {"openai_route": "/v1/completions", "openai_input": body}}
    answer = check(Completion, decoded(await worker.answer(job)))
    assert [choice.text for choice in answer.choices] == ["ab", "ab", "cd", "cd"]
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    for choice in answer.choices:
        told = choice.logprobs
        assert told.tokens == list(choice.text)
        assert told.token_logprobs == [0.0, 0.0]
        assert told.top_logprobs == [{letter: 0.0} for letter in choice.text]
        assert told.text_offset == [0, 1]
    assert answer.usage.completion_tokens == 8
    assert answer.usage.prompt_tokens == 6
    stream = {"input": {**job["input"], "openai_input": {**body, "stream": True}}}
    events = [event async for event in worker.stream(stream)]
    # The package takes chunks as Completion objects, without validating: a reason may be null.
    chunks = [
        Completion.construct(**json.loads(event.removeprefix("data: "))) for event in events[:-1]
    ]
    for choice in answer.choices:
        own = [one for chunk in chunks for one in chunk.choices if one.index == choice.index]
        assert "".join(one.text for one in own) == choice.text
        told = [word for one in own if one.logprobs for word in one.logprobs.tokens]
        assert told == list(choice.text)
        assert [one.finish_reason for one in own if one.finish_reason] == ["stop"]


def test_what_cannot_be_is_a_number_all_the_same():
    """JSON has no infinity."""
    told = ChoiceText(0, FakeText(), [], None).push(97, Logprob(97, -math.inf, ((98, -math.inf),)))
    assert told is not None
    [one] = told.logprobs
    assert (one.logprob, one.top) == (-9999.0, ((b"b", -9999.0),))


# A choice -----------------------------------------------------------------------------------------


def speak(text: str, stops: list[str], tools: list[Any]) -> Any:
    fake = FakeText()
    choice = ChoiceText(0, fake, stops, fake.reading("", tools))
    deltas = []
    for token in text.encode():
        if choice.ended:
            break
        if (delta := choice.push(token, Logprob(token, -1.0))) is not None:
            deltas.append(delta)
    if not choice.ended:
        deltas.append(choice.end("stop"))
    return deltas


@pytest.mark.parametrize("text", ["a<b", "<tool", "a <tool_cal", f"{CALL} and {CALL}", "<think>x"])
def test_nothing_that_was_said_is_lost(text):
    deltas = speak(text, [], [TOOL])
    pieces = [piece for delta in deltas for piece in delta.pieces]
    said = "".join(one.text for one in pieces if not isinstance(one, Called))
    calls = [one for one in pieces if isinstance(one, Called)]
    assert len(calls) == text.count("</tool_call>")
    if not calls:
        assert said == text.replace("<think>", "")
    told = b"".join(one.content for delta in deltas for one in delta.logprobs)
    assert told == text.encode()
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)


def test_a_stop_string_within_a_call():
    deltas = speak(CALL, ["</tool"], [TOOL])
    pieces = [piece for delta in deltas for piece in delta.pieces]
    assert all(isinstance(piece, Said) for piece in pieces) or any(
        isinstance(piece, Called) for piece in pieces
    )
    assert deltas[-1].finish_reason in ("stop", "tool_calls")


# Forms, on a real engine with random weights ------------------------------------------------------


@pytest.fixture
def tiny(make_worker):
    return make_worker(FAKE_ENGINES="0", SURFACE="chat", MODEL_SLUG="Tiny_Llama")


PERSON = {
    "type": "object",
    "properties": {"name": {"enum": ["Ada", "Bo"]}, "age": {"enum": [1, 2]}},
    "required": ["name", "age"],
    "additionalProperties": False,
}
NOTHING = {"type": "object", "properties": {}, "additionalProperties": False}
ASK = {
    "type": "function",
    "function": {"name": "ask", "parameters": PERSON, "description": "Asks somebody"},
}


async def test_an_answer_by_a_schema(tiny):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    for fields in ({"response_format": form}, {"guided_json": PERSON}):
        answer = await whole(tiny, saying("Who?", max_tokens=500, seed=4, **fields))
        assert answer.choices[0].finish_reason == "stop"
        person = json.loads(answer.choices[0].message.content)
        assert person["name"] in ("Ada", "Bo")
        assert set(person) == {"name", "age"}
    answer = await whole(tiny, saying("Who?", guided_choice=["one", "two"], n=3, seed=1))
    assert {choice.message.content for choice in answer.choices} <= {"one", "two"}
    answer = await whole(tiny, saying("Who?", guided_regex="[ab]{4}", seed=1))
    assert len(answer.choices[0].message.content) == 4


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "ask"}}])
async def test_a_forced_call(tiny, choice):
    tools = [{"type": "function", "function": {"name": "wait", "parameters": NOTHING}}, ASK]
    job = saying("Who?", tools=tools, tool_choice=choice, max_tokens=500, seed=2, n=2)
    answer = await whole(tiny, job)
    for one in answer.choices:
        assert one.finish_reason == "tool_calls"
        [call] = one.message.tool_calls
        if choice != "required":
            assert call.function.name == "ask"
        if call.function.name == "ask":
            assert set(json.loads(call.function.arguments)) == {"name", "age"}


async def test_a_forced_call_makes_no_arguments_up(tiny):
    """Of a function without parameters, and of a schema that does not say that it is closed."""
    open_ = {"type": "object", "properties": {"a": {"enum": [1, 2]}}, "required": ["a"]}
    for parameters, expected in ((None, [{}]), (open_, [{"a": 1}, {"a": 2}])):
        tool = {"type": "function", "function": {"name": "now", "parameters": parameters}}
        job = saying("Is it?", tools=[tool], tool_choice="required", max_tokens=300, seed=3, n=3)
        for choice in (await whole(tiny, job)).choices:
            [call] = choice.message.tool_calls
            assert json.loads(call.function.arguments) in expected


@pytest.mark.parametrize("limit", range(1, 60, 7))
async def test_a_forced_call_that_is_cut_short_is_no_text(tiny, limit):
    job = saying("Who?", tools=[ASK], tool_choice="required", max_tokens=limit, seed=1)
    [choice] = (await whole(tiny, job)).choices
    assert not choice.message.content or choice.message.content in '{"name": "ask"'
    if choice.finish_reason == "length" and choice.message.tool_calls:
        [call] = choice.message.tool_calls
        assert call.function.name == "ask"
        assert call.function.arguments.startswith("{")


async def test_a_stop_string_does_not_break_a_forced_call_off(tiny):
    job = saying(
        "Who?", tools=[ASK], tool_choice="required", max_tokens=300, seed=1, stop=["}", ":"]
    )
    [choice] = (await whole(tiny, job)).choices
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments)


@needs("SmolLM2_135M_Instruct")
async def test_marks_within_a_form_are_of_the_answer(make_worker):
    """The model of this test thinks between such marks, where it may say anything."""
    worker = make_worker(FAKE_ENGINES="0", SURFACE="chat")
    for said in ("a<think>b</think>c", "<think>", "<tool_call>x</tool_call>"):
        answer = await whole(worker, saying("x", guided_choice=[said]))
        assert answer.choices[0].message.content == said
        answer = await whole(worker, saying("x", guided_json={"const": said}))
        assert json.loads(answer.choices[0].message.content) == said


async def test_beside_tools_an_answer_may_have_a_form(tiny):
    form = {"type": "json_schema", "json_schema": {"name": "person", "schema": PERSON}}
    job = saying("Who?", tools=[ASK], response_format=form, max_tokens=500, seed=2)
    answer = await whole(tiny, job)
    [choice] = answer.choices
    if choice.finish_reason == "tool_calls":
        assert choice.message.tool_calls[0].function.name == "ask"
    else:
        assert set(json.loads(choice.message.content)) == {"name", "age"}


async def test_a_schema_that_cannot_be_kept_is_refused_before_a_stream_begins(tiny):
    schema = {"type": "array", "uniqueItems": True}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    error = error_of(await tiny.answer(saying("x", response_format=form)))
    assert error["code"] == "unsupported_schema"
    assert error["param"] == "response_format.json_schema.schema"
    assert "#/uniqueItems" in error["message"]
    error = error_of(
        await tiny.answer(
            saying(
                "x",
                tools=[
                    {**ASK, "function": {"name": "f", "strict": True, "parameters": {"not": {}}}}
                ],
            )
        )
    )
    assert error["code"] == "unsupported_schema"
    assert error["param"] == "tools[0].function.parameters"
    assert "#/not" in error["message"]


async def test_prefill_goes_on(tiny):
    """The assistant's last words are continued, not answered."""
    text = (await _engine(tiny)).text
    begun = [{"role": "user", "content": "Count"}, {"role": "assistant", "content": "One, two"}]
    assert text.render(begun, goes_on=True).endswith("One, two")
    assert not text.render(begun[:1]).endswith("Count")
    assert not text.render(begun).endswith("One, two")


async def _engine(worker: Any) -> Any:
    row = worker.endpoint.pick("chat", None)
    from models.warm.ticket import NEVER

    async with worker.dispatcher.pool.lease(row, NEVER) as model:
        return model.engine


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [TOOL]}, "tools"), ({"tool_choice": "required"}, "tool_choice"),
        ({"top_logprobs": 3}, "top_logprobs"), ({"chat_template_kwargs": {"a": 1}}, "chat_template_kwargs"),
        ({"messages": [{"role": "user", "content": "a"}]}, "messages"),
    ],
)  # fmt: skip
async def test_completions_refuse_by_name_what_is_a_conversations(worker, fields, param):
    job = {"input": {"openai_route": "/v1/completions", "openai_input": {"prompt": "a", **fields}}}
    error = error_of(await worker.answer(job))
    assert (error["code"], error["param"]) == ("unsupported_parameter", param)


async def test_completions_tell_of_the_token_itself(tiny):
    body = {"prompt": "a", "logprobs": 1, "max_tokens": 8, "temperature": 2, "seed": 1}
    job = {"input": {"openai_route": "/v1/completions", "openai_input": body}}
    told = check(Completion, decoded(await tiny.answer(job)), EXTENSIONS).choices[0].logprobs
    for token, value, top in zip(told.tokens, told.token_logprobs, told.top_logprobs, strict=True):
        assert top[token] == value
        assert 1 <= len(top) <= 2


async def test_half_characters_keep_their_bytes_in_completions(worker):
    body = {"prompt": "\u00fc", "logprobs": 1}
    job = {"input": {"openai_route": "/v1/completions", "openai_input": body}}
    told = decoded(await worker.answer(job))["choices"][0]["logprobs"]
    assert told["tokens"] == ["bytes:\\xc3", "bytes:\\xbc"]
    assert [list(top) for top in told["top_logprobs"]] == [["bytes:\\xc3"], ["bytes:\\xbc"]]


async def test_an_event_stays_far_below_what_the_platform_takes(make_worker):
    """However much has gathered while a POST was under way."""
    worker = make_worker()
    job = {
        "input": {**saying("x" * 15_000, max_tokens=15_000, logprobs=True)["input"], "stream": True}
    }
    sizes = []
    async for event in worker.stream(job):
        sizes.append(len(json.dumps(event)))
        if len(sizes) < 3:
            await asyncio.sleep(0.5)
    assert len(sizes) > 3
    assert max(sizes) < 600_000


# What OpenAI's older and newer clients send ------------------------------------------------------


async def test_an_earlier_refusal_is_read():
    parts = [{"type": "text", "text": "Sorry. "}, {"type": "refusal", "refusal": "No."}]
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "refusal": "I cannot."},
        {"role": "user", "content": "b"},
        {"role": "assistant", "content": parts, "refusal": None},
        {"role": "user", "content": "c"},
    ]
    turns = ChatRequest.parse({"messages": messages}).conversation
    assert [turn["content"] for turn in turns] == ["a", "I cannot.", "b", "Sorry. No.", "c"]


@pytest.mark.parametrize(("mode", "must"), [("auto", False), ("required", True)])
async def test_allowed_tools_are_all_that_the_model_sees(mode, must):
    second = {"type": "function", "function": {"name": "second", "parameters": {"type": "object"}}}
    named = {"type": "function", "function": {"name": "second"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named]}}
    body = {
        "messages": [{"role": "user", "content": "a"}],
        "tools": [TOOL, second],
        "tool_choice": choice,
    }
    request = ChatRequest.parse(body)
    assert [tool.function.name for tool in request.told_tools.values()] == ["second"]
    assert request.must_call is must
    named["function"]["name"] = "third"
    with pytest.raises(InvalidValue) as caught:
        ChatRequest.parse(body)
    assert caught.value.param == "tool_choice.allowed_tools.tools[0].function.name"


def completing(**fields: Any) -> dict[str, Any]:
    return {"input": {"openai_route": "/v1/completions", "openai_input": fields}}


async def test_no_tokens_after_a_prompt(worker, tiny):
    """With ``max_tokens: 0`` the prompt comes back, counted."""
    job = completing(prompt=["ab", "cd"], echo=True, max_tokens=0, n=2)
    answer = check(Completion, decoded(await worker.answer(job)))
    assert [choice.text for choice in answer.choices] == ["ab", "ab", "cd", "cd"]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 0)
    lines = [
        line async for line in worker.stream(completing(prompt="ab", max_tokens=0, stream=True))
    ]
    assert '"finish_reason":"length"' in "".join(lines).replace(" ", "")
    error = error_of(await tiny.answer(completing(prompt="word " * 3000, max_tokens=0)))
    assert error["code"] == "context_length_exceeded"


async def test_best_of_as_many_as_are_sent(worker):
    answer = check(Completion, decoded(await worker.answer(completing(prompt="a", n=2, best_of=2))))
    assert len(answer.choices) == 2
    error = error_of(await worker.answer(completing(prompt="a", n=2, best_of=3)))
    assert (error["code"], error["param"]) == ("unsupported_parameter", "best_of")


async def test_without_a_prompt_a_text_begins(worker, tiny):
    empty = ({}, {"prompt": ""}, {"prompt": []})
    for made, fields in ((worker, {}), *((tiny, fields) for fields in empty)):
        job = completing(max_tokens=2, echo=True, **fields)
        answer = check(Completion, decoded(await made.answer(job)))
        assert answer.usage.prompt_tokens >= 1


@pytest.mark.parametrize(
    ("route", "body", "param"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 3000}]}, "messages"),
        ("/v1/completions", {"prompt": "word " * 3000}, "prompt"),
        ("/v1/completions", {"prompt": [5] * 3000}, "prompt"),
        ("/v1/responses", {"input": "word " * 3000}, "input"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "word " * 900000}]}, "messages"),
        ("/v1/responses", {"input": "word " * 900000}, "input"),
    ],
)  # fmt: skip
async def test_a_long_prompt_is_refused_in_openais_words(tiny, route, body, param):
    job = {"input": {"openai_route": route, "openai_input": body}}
    error = error_of(await tiny.answer(job))
    assert (error["code"], error["param"]) == ("context_length_exceeded", param)
    assert error["message"].startswith(
        "This model's maximum context length is 2048 tokens. However, "
    )
    assert error["message"].endswith(f" Please reduce the length of {param}.")

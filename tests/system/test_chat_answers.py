"""Chat as its clients use it, with a small real model behind the worker's own door and the queue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from tests.conftest import needs
from tests.support.langchain import langchain_chat
from tests.support.running import serve_worker

pytestmark = needs("SmolLM2_135M_Instruct")

MODEL = "SmolLM2_135M_Instruct"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "maxLength": 30},
                "unit": {"enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}
CITIES = """
    Paris Rome Berlin Madrid Vienna Oslo Lima Quito Cairo Delhi Tokyo Seoul Perth Accra Dakar Tunis
    Riga Kyiv Bern Prague Athens Lisbon Dublin London Warsaw Zagreb Sofia Minsk Tallinn Vilnius
    Ankara Baku Tbilisi Yerevan Tehran Kabul Dhaka Hanoi Manila Jakarta Sydney Auckland Suva Apia
    Ottawa Boston Chicago Denver Dallas Miami
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_worker(SURFACE="chat", MODEL_SLUG=MODEL, FAKE_ENGINES="0") as address:
        yield f"{address}/v1"


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=url, api_key="any") as client:
        yield client


@pytest.fixture
def chain(url: str) -> Iterator[ChatOpenAI]:
    with langchain_chat(url, model=MODEL, temperature=0, max_retries=0, max_tokens=200) as chain:
        yield chain


@pytest.mark.anyio
@pytest.mark.parametrize("count", [8, pytest.param(50, marks=pytest.mark.slow)])
async def test_forced_calls_have_valid_arguments(url, count):
    async def ask(client: Any, city: str) -> Any:
        return await client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": f"How warm is it in {city}, in celsius?"}],
            tools=[WEATHER],
            tool_choice={"type": "function", "function": {"name": "get_weather"}},
            temperature=0,
            max_tokens=100,
        )

    cities = CITIES.split()[:count]
    assert len(cities) == count
    async with openai.AsyncOpenAI(base_url=url, api_key="any", timeout=120) as client:
        answers = await asyncio.gather(*(ask(client, city) for city in cities))
    right = 0
    for city, answer in zip(cities, answers, strict=True):
        [choice] = answer.choices
        assert choice.finish_reason == "tool_calls"
        [call] = choice.message.tool_calls
        arguments = json.loads(call.function.arguments)
        assert set(arguments) == {"city", "unit"}
        assert arguments["unit"] in ("celsius", "fahrenheit")
        right += city in arguments["city"]
    assert right > 0.7 * count  # the arguments are the model's own words


def test_langchain_calls_tools(chain):
    @tool
    def multiply(a: int, b: int) -> int:
        """Multiply two whole numbers."""
        return a * b

    told = chain.bind_tools([multiply], tool_choice="multiply").invoke("What is 6 times 7?")
    [call] = told.tool_calls
    assert call["name"] == "multiply"
    assert set(call["args"]) == {"a", "b"}
    streamed = None
    bound = chain.bind_tools([multiply], tool_choice="any")
    for chunk in bound.stream("What is 6 times 7?"):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed.tool_calls[0]["name"] == "multiply"


class Person(BaseModel):
    """A person."""

    name: str
    age: int


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_has_structured_output(chain, method):
    structured = chain.with_structured_output(Person, method=method)
    person = structured.invoke("Ada is 36 years old. Who is it?")
    assert isinstance(person, Person)
    assert "Ada" in person.name


def test_a_conversation_with_a_tools_answer(client):
    arguments = '{"city": "Oslo", "unit": "celsius"}'
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "get_weather", "arguments": arguments},
    }
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "user", "content": "How warm is it in Oslo?"},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "17 degrees"},
        ],
        tools=[WEATHER],
        tool_choice="none",
        temperature=0,
        max_tokens=60,
    )
    assert "17" in answer.choices[0].message.content


def test_an_answer_goes_on_where_it_was_begun(client):
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[
            {"role": "user", "content": "What is the capital of France?"},
            {"role": "assistant", "content": "The capital of France is"},
        ],
        temperature=0,
        max_tokens=5,
    )
    assert answer.choices[0].message.content.startswith(" Paris")


def test_a_long_prefix_is_read_once(client):
    system = {"role": "system", "content": "Answer in one word. " * 30}

    def ask(question: str) -> Any:
        told = client.chat.completions.create(
            model=MODEL,
            messages=[system, {"role": "user", "content": question}],
            max_tokens=3,
        )
        return told.usage

    ask("Is water wet?")
    usage = ask("Is fire hot?")
    assert usage.prompt_tokens_details.cached_tokens >= 100
    assert usage.prompt_tokens_details.cached_tokens % 32 == 0


def test_too_long_is_said_with_limit_and_count(client):
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "word " * 9000}]
        )
    assert refused.value.code == "context_length_exceeded"
    assert refused.value.param == "messages"
    assert "8192" in refused.value.message

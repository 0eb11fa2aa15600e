"""One small request must not stop a worker: each costs a bounded time and a bounded memory."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from handler.contract import SURFACES
from handler.contract.request import Request
from tests.conftest import ROOT, decoded, error_of

pytestmark = pytest.mark.anyio

REQUESTS: list[type[Request]] = list(
    dict.fromkeys(one.request for surface in SURFACES.values() for one in surface.operations)
)


def unbounded(schema: Any, path: str = "") -> Iterator[str]:
    """The lists and objects of a core schema that may have any number of elements."""
    if isinstance(schema, list | tuple):
        for one in schema:
            yield from unbounded(one, path)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind in ("list", "set", "frozenset", "dict", "generator"):
        stops = schema.get("fail_fast") is True
        if "max_length" not in schema or not stops:
            yield f"{path}: {kind}"
    for key, value in schema.items():
        if key not in ("metadata", "serialization", "ref", "schema_ref"):
            yield from unbounded(value, f"{path}.{key}")


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
def test_every_list_of_a_request_has_a_bound_and_stops_at_its_first_error(kind):
    assert list(unbounded(TypeAdapter(kind).core_schema)) == []


# In a process of its own, whose peak of memory is its own. Each body has some ten megabytes as JSON.
BODIES = """
import asyncio, json, resource, sys, time
from handler.assemble import assemble
from handler.settings.variables import Settings

worker = assemble(Settings.from_env({"FAKE_ENGINES": "1", "DEVICE": "cpu"}))
ones, count = [1] * 5_000_000, 400_000
def say(content): return {"messages": [{"role": "user", "content": content}]}
part, call = {"type": "text", "text": ""}, {"id": "a", "function": {"name": "a", "arguments": ""}}
chat, plain, responses = "/v1/chat/completions", "/v1/completions", "/v1/responses"
bodies = [
    (chat, {"messages": ones}),
    (chat, say(ones)),
    (chat, say([part] * count)),
    (chat, {"messages": [{"role": "user", "content": [part] * 40}] * 9000}),
    (chat, {"messages": [{"role": "assistant", "tool_calls": ones}]}),
    (chat, {"messages": [{"role": "assistant", "tool_calls": [call] * 128}] * 1000}),
    (chat, {**say("a"), "stop": ones}),
    (chat, {**say("a"), "tools": ones}),
    (chat, {**say("a"), "logit_bias": {str(one): "a" for one in range(count)}}),
    (chat, {**say("a"), "logit_bias": {str(one): 1 for one in range(count)}}),
    (chat, {**say("a"), "chat_template_kwargs": {"a": ones}}),
    (chat, {**say("a"), "guided_choice": ones}),
    (plain, {"prompt": ones}),
    (plain, {"prompt": [ones]}),
    (plain, {"prompt": ["a"] * count}),
    (plain, {"prompt": [None] * count}),
    (responses, {"input": ones}),
    (responses, {"input": [{str(one): 1 for one in range(count)}]}),
    (responses, {"input": [{"role": "user", "content": ones}]}),
    (responses, {"input": [{"type": "function_call", "name": "a", "arguments": ""}] * count}),
    (responses, {"input": "a", "metadata": {str(one): 1 for one in range(count)}}),
    ("/v1/audio/transcriptions", {"audioUrl": "a", "timestamp_granularities": ones}),
    ("/v1/audio/transcriptions", {"audioUrl": "a", "keywords": ones}),
    ("/v1/embeddings", {"input": ones}),
    ("/v1/embeddings", {"input": [[None] * count]}),
    ("/v1/embeddings", {"input": ["a"] * count}),
    ("/v1/embeddings", {"input": [{}] * count}),
    ("/v1/rerank", {"query": "a", "documents": ones}),
    ("/v1/rerank", {"query": "a", "documents": [{"text": 1}] * count}),
    ("/v1/images/generations", {"prompt": "a", "seed": ones}),
    ("/v1/images/generations", {"prompt": "a", "loras": ones}),
    ("/v1/images/generations", {"image": ones}),
]
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
async def main():
    await worker.answer({"input": {"input": "a"}})
    before = peak()
    for number, (route, body) in enumerate(bodies):
        start = time.process_time()
        answer = await worker.answer({"input": {"openai_route": route, "openai_input": body}})
        took = time.process_time() - start
        assert isinstance(answer, dict) and "error" in answer, number
        print(json.dumps([number, route, took, json.loads(answer["error"])]))
    print(peak() - before)
asyncio.run(main())
"""


def test_a_body_of_ten_megabytes_is_refused_at_once_and_takes_no_memory():
    run = [sys.executable, "-c", BODIES]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, growth_bytes = done.stdout.splitlines()
    for line in lines:
        number, route, took_s, error = json.loads(line)
        assert took_s < 2, (number, route, took_s)
        assert error["type"] == "invalid_request_error", (number, error)
        assert error["code"] != "internal_error", (number, error)
        assert len(error["message"]) < 400
    assert int(growth_bytes) < 200e6


# Grammars ----------------------------------------------------------------------------------------


def patterns(count: int, name: str = "") -> dict[str, Any]:
    named = {f"^(a|b)*{name}{index}0$": {"type": "string"} for index in range(count)}
    return {"type": "object", "patternProperties": named}


def crossed(count: int, name: str = "") -> dict[str, Any]:
    """Two unions whose every pair of branches is put together before the pairs are counted."""
    unions = [
        [{"type": "object", "required": [f"{side}{name}_{at}"]} for at in range(count)]
        for side in "ab"
    ]
    return {"allOf": [{"anyOf": union} for union in unions]}


def chain(length: int) -> dict[str, Any]:
    """Definitions each of which refers to the next: compiling them overflows a stack."""
    steps = {
        f"p{at}": {"type": "object", "properties": {"a": {"$ref": f"#/$defs/p{at + 1}"}}}
        for at in range(length)
    }
    return {"$defs": {**steps, f"p{length}": {"type": "string"}}, "$ref": "#/$defs/p0"}


DEAR = {
    "patterns": patterns(1500),
    "patterns of one object, put together": {"allOf": [patterns(16, f"{at}x") for at in range(20)]},
    "all of any": {
        "allOf": [
            {"anyOf": [{"properties": {f"{one}{at}": {"type": "string"}}} for one in "ab"]}
            for at in range(16)
        ]
    },
    "unions, crossed": crossed(1000),
    "a chain that overflows a stack": chain(900),
    "definitions, one of them wrong": {
        "$defs": {f"p{at}": {"type": "object"} for at in range(9000)},
        "anyOf": [{"not": {}}, {"type": "string"}],
    },
    "nested": json.loads('{"type":"array","items":' * 200 + "{}" + "}" * 200),
    "large": {"enum": ["x" * 1000] * 600},
}


def asks(schema: dict[str, Any]) -> dict[str, Any]:
    form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return {
        "input": {
            "messages": [{"role": "user", "content": "Hi"}],
            "response_format": form,
            "max_tokens": 4,
        }
    }


@pytest.fixture(scope="module")
def real() -> Any:
    """A worker of all surfaces with a real chat engine, on tiny weights."""
    import os

    from handler.assemble import assemble
    from handler.settings.variables import Settings

    cache = os.environ.get("QUARTET_CACHE", "")
    return assemble(Settings.from_env({"QUARTET_CACHE": cache, "DEVICE": "cpu"}))


@pytest.mark.parametrize("name", DEAR)
async def test_a_schema_that_is_dear_to_compile_is_refused(real, name):
    job = asks(DEAR[name])
    job["input"]["model"] = "Tiny_Llama"
    start = time.monotonic()
    error = error_of(await real.answer(job))
    assert error["code"] in ("unsupported_schema", "invalid_value"), error
    assert error["param"].startswith("response_format"), error
    print(f"{name}: {time.monotonic() - start:.2f} s, {error['message']}")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("guided_regex", "(a+)+$"),
        ("guided_regex", "(a|a)*b"),
        ("guided_regex", "((a{1,100}){1,100}){1,100}"),
        ("guided_regex", "(x+x+)+y|" * 200 + "z"),
        ("guided_regex", "(" * 400 + "a" + ")*" * 400),
        ("guided_regex", "(?:a?){200}a{200}"),
        ("guided_choice", ["a" * n for n in range(1, 300)]),
    ],
)
async def test_a_regular_expression_takes_bounded_time(real, field, text):
    """Those that take exponential time by trying: answered or refused, in a few seconds."""
    message = {"role": "user", "content": "a" * 60}
    body = {"messages": [message], field: text, "max_tokens": 8, "model": "Tiny_Llama"}
    plain = {"messages": [message], "max_tokens": 1, "model": "Tiny_Llama"}
    decoded(await real.answer({"input": plain}))  # loaded
    start = time.monotonic()
    answer = await real.answer({"input": body})
    assert time.monotonic() - start < 10
    if isinstance(answer, dict):
        assert error_of(answer)["code"] in {"invalid_value", "unsupported_schema"}


async def test_eight_such_requests_hold_up_nobody(real):
    """Each takes a second of a process that is ended; others are answered meanwhile."""
    plain = {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 2,
        "model": "Tiny_Llama",
    }
    decoded(await real.answer({"input": plain}))  # loaded
    dear = []
    for number in range(8):
        job = asks(crossed(1000, str(number)))
        job["input"]["model"] = "Tiny_Llama"
        dear.append(asyncio.create_task(real.answer(job)))
    await asyncio.sleep(0.1)
    waits = []
    while not all(task.done() for task in dear):
        start = time.monotonic()
        assert decoded(await real.answer({"input": plain}))["choices"]
        await asyncio.to_thread(time.sleep, 0)  # a thread of the event loop's comes free
        waits.append(time.monotonic() - start)
        await asyncio.sleep(0.05)
    assert len(waits) >= 8, "they were refused at once"
    assert max(waits) < 2, waits
    for task in dear:
        assert error_of(await task)["code"] == "unsupported_schema"

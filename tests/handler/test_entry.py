"""The way out: errors, deadlines, cancellation, sizes, and JSON that is JSON."""

from __future__ import annotations

import asyncio
import json
import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler import wire
from handler.contract.base import Surface
from models.catalog import CATALOG
from models.errors import RequestError
from tests.conftest import ROOT, decoded, error_of

pytestmark = pytest.mark.anyio

JOB = {"id": "j", "input": {"messages": [{"role": "user", "content": "x" * 50}]}}


def with_surface(worker: Any, **changes: Any) -> Any:
    """The worker with another chat surface."""
    chat = worker.endpoint.surfaces["chat"]
    surface = replace(chat, operations=(replace(chat.operations[0], **changes),))
    endpoint = replace(worker.endpoint, surfaces={"chat": surface})
    return replace(worker, reception=replace(worker.reception, endpoint=endpoint))


def with_timeout(worker: Any, timeout_s: float) -> Any:
    """The worker with an execution timeout of its endpoint."""
    return replace(worker, reception=replace(worker.reception, job_timeout_s=timeout_s))


async def test_unknown_errors_say_nothing_of_the_inside(worker, caplog):
    async def broken(call: Any) -> Any:
        raise ZeroDivisionError("/secret/path with the prompt")

    error = error_of(await with_surface(worker, answer=broken).answer(JOB))
    assert error["code"] == "internal_error"
    assert error["type"] == "server_error"
    assert "secret" not in json.dumps(error)
    assert "failed with internal_error" in caplog.text


async def test_a_lost_gpu_has_the_platform_replace_the_worker(worker):
    """A device-side assert breaks every later job; the SDK is told to stop the pod."""
    row = worker.endpoint.pick("embeddings", None)

    def broken(batch: Any) -> Any:
        raise RuntimeError("CUDA error: device-side assert triggered")

    async with worker.dispatcher.pool.lease(row) as model:
        model.engine.run = broken
    output = decoded(await worker.answer({"id": "j", "input": {"input": "x"}}))
    assert output.pop("refresh_worker") is True
    assert error_of(output)["code"] == "device_lost"


async def test_every_domain_error_has_its_own_code():
    def tree(kind: type) -> set[type]:
        return {kind}.union(*(tree(one) for one in kind.__subclasses__()))

    import handler.errors
    from models.errors import QuartetError, WorkerError

    abstract = {QuartetError, RequestError, WorkerError, handler.errors.MediaError}
    codes = [one.code for one in tree(QuartetError) - abstract]
    assert len(codes) == len(set(codes))
    assert not set(codes) & {QuartetError.code, RequestError.code}


@pytest.mark.parametrize(
    "bad", [float("nan"), math.inf, b"bytes", {1, 2}, object(), "\ud800", 1 + 2j]
)
async def test_what_json_cannot_hold_becomes_an_error(worker, bad):
    async def answer(call: Any) -> Any:
        return {"value": [bad]}

    error = error_of(await with_surface(worker, answer=answer).answer(JOB))
    assert error["code"] == "internal_error"


async def test_numpy_cannot_leave(worker):
    import numpy as np

    for bad in (np.float32(1), np.int64(1), np.zeros(3)):

        async def answer(call: Any, bad: Any = bad) -> Any:
            return {"value": bad}

        error = error_of(await with_surface(worker, answer=answer).answer(JOB))
        assert error["code"] == "internal_error"


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters())
    | st.text(alphabet=st.characters(categories=["Cs"]))
    | st.binary()
    | st.builds(object),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(anything)
def test_what_passes_is_what_the_sdk_delivers(value):
    """Either refused, or exactly the bytes that the SDK would send, and valid JSON."""
    try:
        sent = wire.encode(value)
    except wire.NotJson:
        return
    assert sent == json.dumps(value, ensure_ascii=False).encode("utf-8")
    json.loads(sent, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert json.loads(sent) == value


def _keys() -> st.SearchStrategy[str]:
    known = [
        "input",
        "surface",
        "messages",
        "prompt",
        "audioUrl",
        "image",
        "role",
        "content",
        "model",
        "stream",
        "size",
        "n",
    ]
    envelope = ["openai_route", "openai_input", "policy", "s3Config", "stop", "seed", "steps"]
    return st.sampled_from([*known, *envelope]) | st.text(max_size=5)


job_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters(codec=None), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys(), inner, max_size=5),
    max_leaves=15,
)


@given(job_values)
def test_no_job_whatever_gets_a_traceback(value):
    """Any JSON at all is answered, or refused with an error object that the SDK can deliver."""
    worker = _fake_worker()
    for raw in (value, {"id": "j", "input": value}):
        output = decoded(asyncio.run(worker.answer(raw)))
        json.dumps(output, ensure_ascii=False, allow_nan=False).encode("utf-8")
        if isinstance(output, dict) and "error" in output:
            error = error_of(output)
            assert error["code"] not in ("internal_error", "engine_failed"), error
            assert "Traceback" not in error["message"]


def _fake_worker() -> Any:
    from handler.assemble import assemble
    from handler.settings.variables import Settings

    return assemble(Settings.from_env({"FAKE_ENGINES": "1", "DEVICE": "cpu"}))


def hanging() -> tuple[Any, asyncio.Event]:
    """An answer that never comes, and the event that tells that it was stopped."""
    stopped = asyncio.Event()

    async def slow(call: Any) -> Any:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()

    return slow, stopped


async def test_the_deadline_comes_before_the_platforms(worker):
    slow, stopped = hanging()
    worker = with_timeout(with_surface(worker, answer=slow), 2.2)
    start = asyncio.get_running_loop().time()
    error = error_of(await worker.answer(JOB))
    assert error["code"] == "job_timeout"
    assert asyncio.get_running_loop().time() - start < 2.0
    assert stopped.is_set()


async def test_a_jobs_own_policy_shortens_the_deadline(worker):
    async def slow(call: Any) -> Any:
        await asyncio.sleep(60)

    start = asyncio.get_running_loop().time()
    job = {**JOB, "policy": {"executionTimeout": 5000}}
    error = error_of(await with_surface(worker, answer=slow).answer(job))
    assert error["code"] == "job_timeout"
    assert 2.5 < asyncio.get_running_loop().time() - start < 4.5


@pytest.mark.parametrize(
    ("env", "jobs"),
    [
        ({"SURFACE": "chat"}, 2), ({"SURFACE": "images"}, 2), ({"SURFACE": "transcribe"}, 2),
        ({"SURFACE": "embeddings"}, 16), ({}, 2), ({"SURFACE": "chat,embeddings"}, 2),
    ],
)  # fmt: skip
async def test_jobs_at_once_follow_from_what_runs(make_worker, env, jobs):
    """One on the device and one in the making; of jobs of milliseconds, those of a round trip."""
    worker = make_worker(**env)
    assert worker.concurrency == jobs
    await worker.warm()
    assert worker.concurrency == jobs


@pytest.mark.parametrize(("most", "jobs"), [("256", 2 * 40), ("20", 2 * 20), ("1", 16)])
async def test_jobs_at_once_are_two_runs_worth_of_a_warm_model(make_worker, most, jobs):
    worker = make_worker(SURFACE="embeddings", MODEL_MAX_BATCH_SIZE=most)
    await worker.warm()
    [warm] = worker.dispatcher.pool.models()
    warm.engine.capacity = 40
    assert worker.concurrency == jobs


async def test_what_the_platform_waits_for_a_job(make_worker):
    worker = make_worker()
    assert worker.accept(JOB).timeout_s == 600
    assert worker.accept({**JOB, "policy": {"executionTimeout": 30_000}}).timeout_s == 30
    assert worker.accept({"input": {"foo": 1}}).timeout_s == 600
    assert make_worker(JOB_TIMEOUT_S="120").accept(JOB).timeout_s == 120


async def test_a_job_is_understood_once(worker, monkeypatch):
    """By the door that takes it: whether it streams, its timeout and its route follow from that."""
    from handler import acceptance

    asked = []

    def counted(job: Any, endpoint: Any) -> Any:
        asked.append(job.id)
        return find(job, endpoint)

    find = acceptance.find
    monkeypatch.setattr(acceptance, "find", counted)
    accepted = worker.accept({**JOB, "id": "once"})
    assert (accepted.streams, accepted.route) == (False, "/v1/chat/completions")
    assert "choices" in decoded(await worker.answer(accepted))
    assert asked == ["once"]


@pytest.mark.parametrize(
    ("body", "code", "route"),
    [
        ({"input": {"messages": []}}, "invalid_value", "/v1/chat/completions"),
        ({"input": {"foo": 1}}, "surface_unknown", "other"),
        ({"input": 5}, "job_invalid", "other"),
        ({"input": {"openai_route": "/v1/what", "openai_input": {}}}, "unknown_url", "other"),
        ({"input": {"openai_route": "/v1/models/x"}}, "model_not_found", "other"),
    ],
)
async def test_a_refusal_is_the_answer(worker, body, code, route):
    refused = worker.accept({"id": "j", **body})
    assert (refused.route, refused.streams) == (route, False)
    assert error_of(await worker.answer(refused))["code"] == code
    [event] = [one async for one in worker.stream(refused)]
    assert error_of(event)["code"] == code


async def test_the_deadline_of_a_stream_spares_its_consumer(worker):
    """While the SDK delivers an event the deadline waits; the next wait is over at once."""

    async def endless(call: Any) -> Any:
        while True:
            yield {"n": 1}
            await asyncio.sleep(0.01)

    worker = with_timeout(with_surface(worker, stream=endless), 2.1)
    events = []
    async for event in worker.stream(JOB):
        events.append(event)
        await asyncio.sleep(0.06)  # a delivery
    assert error_of(events[-1])["code"] == "job_timeout"
    assert len(events) >= 2


async def test_a_slow_consumer_does_not_outwit_the_deadline(worker):
    """Events that wait in line would be handed on for ever: asking for them never waits."""

    async def ready(call: Any) -> Any:
        for n in range(1000):
            yield {"n": n}

    worker = with_timeout(with_surface(worker, stream=ready), 2.2)
    events = []
    async for event in worker.stream(JOB):
        events.append(event)
        await asyncio.sleep(0.05)
    assert error_of(events[-1])["code"] == "job_timeout"
    assert len(events) < 20


async def test_cancellation_stops_the_work_and_is_not_swallowed(worker):
    slow, stopped = hanging()
    task = asyncio.create_task(with_surface(worker, answer=slow).answer(JOB))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stopped.is_set()


async def test_the_log_says_that_a_job_was_stopped(worker, caplog):
    caplog.set_level("INFO")
    slow, _ = hanging()
    task = asyncio.create_task(with_surface(worker, answer=slow).answer(JOB))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    events = worker.stream({"id": "s", "input": {**JOB["input"], "stream": True}})
    await anext(events)
    await events.aclose()
    said = [(one.job_id, one.getMessage()) for one in caplog.records if "stopped" in one.message]
    assert [job_id for job_id, _ in said] == [JOB["id"], "s"]
    assert all(re.search(r"was stopped after \d+ ms", text) for _, text in said)


async def test_a_closed_stream_frees_the_engine(make_worker):
    worker = make_worker(SURFACE="chat")
    row = worker.endpoint.catalog.rows[0]
    slow = replace(row, options={"delay_s": 0.01})
    endpoint = replace(worker.endpoint, catalog=type(CATALOG)([slow]))
    worker = replace(worker, reception=replace(worker.reception, endpoint=endpoint))
    long = {"input": {"messages": [{"role": "user", "content": "x" * 100_000}], "stream": True}}
    events = worker.stream(long)
    await anext(events)
    await events.aclose()
    short = {"input": {"messages": [{"role": "user", "content": "hi"}]}}
    answer = decoded(await asyncio.wait_for(worker.answer(short), timeout=5))
    assert answer["choices"][0]["message"]["content"] == "hi"


async def test_an_answer_over_the_limit_is_refused_with_what_to_do(worker):
    error = error_of(await replace(worker, output_limit_bytes=200).answer(JOB))
    assert error["code"] == "output_too_large"
    assert "200" in error["message"]
    assert "bucket" in error["message"]
    small, kept = replace(worker, output_limit_bytes=200), list[Any]()
    events = [e async for e in small.stream(JOB, kept.append)]
    assert error_of(events[-1])["code"] == "output_too_large"
    assert kept == []
    # On the OpenAI route the platform keeps the list of the events.
    route = {"openai_route": "/v1/chat/completions", "openai_input": JOB["input"]}
    events = [e async for e in small.stream({"id": "j", "input": route})]
    assert error_of(events[-1])["code"] == "output_too_large"


async def test_an_error_in_a_stream_is_told_on_the_openai_route(worker):
    async def breaks(call: Any) -> Any:
        yield 'data: {"n": 1}\n\n'
        raise RequestError("no more", code="went_wrong")

    worker = with_surface(worker, stream=breaks)
    route = {"openai_route": "/v1/chat/completions", "openai_input": JOB["input"]}
    events = [event async for event in worker.stream({"id": "j", "input": route})]
    told = json.loads(events[1].removeprefix("data: "))
    assert told["error"]["code"] == "went_wrong"
    assert error_of(events[2])["code"] == "went_wrong"


async def test_coalescing_keeps_order_and_text():
    from handler.contract.streaming import coalesce

    async def numbers() -> Any:
        for n in range(1000):
            yield [n]
            if n % 100 == 0:
                await asyncio.sleep(0)

    def merge(left: list[int], right: list[int]) -> list[int] | None:
        return None if right[0] % 250 == 0 else left + right

    got = []
    async for event in coalesce(numbers(), merge):
        got.append(event)
        await asyncio.sleep(0.001)
    assert [n for event in got for n in event] == list(range(1000))
    assert len(got) < 100
    assert got[0] == [0]
    assert all(250 not in event[1:] for event in got)


def test_surface_is_all_that_dispatch_reads():
    """A new surface needs its module and a line in the registry: dispatch names none."""
    from handler.contract import SURFACES

    assert {type(one) for one in SURFACES.values()} == {Surface}
    for name in (
        "routing",
        "acceptance",
        "life",
        "dispatch",
        "entry",
        "job",
        "wire",
        "settings/endpoint",
        "assemble",
        "command",
    ):
        text = (ROOT / "handler" / f"{name}.py").read_text()
        assert not [surface for surface in SURFACES if f'"{surface}"' in text]

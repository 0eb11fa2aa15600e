"""The real worker process, in the SDK's real loop, against a server that speaks its protocol."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from tests.conftest import ROOT, error_of
from tests.servers import serve
from tests.test_contract import CHAT, EMBEDDINGS, IMAGES, TRANSCRIBE, check


class Platform:
    """Job-take, job-done, job-stream and job-stop, as the SDK calls them."""

    def __init__(self) -> None:
        self.queue: list[dict[str, Any]] = []
        self.done: dict[str, list[dict[str, Any]]] = {}
        self.streams: dict[str, list[Any]] = {}
        self.is_stream: dict[str, str] = {}
        self.stops: list[str] = []
        self.pings = 0

    def application(self) -> web.Application:
        application = web.Application(client_max_size=30_000_000)
        add = application.router.add_route
        add("GET", "/job-take/{worker}", self.take)
        add("GET", "/job-take-batch/{worker}", self.take)
        add("GET", "/job-stop/{worker}", self.stop)
        add("POST", "/job-done/{worker}/{job}", self.finish)
        add("POST", "/job-stream/{worker}/{job}", self.stream)
        add("GET", "/ping/{worker}", self.ping)
        return application

    async def take(self, request: web.Request) -> web.Response:
        count = int(request.query.get("batch_size", "0"))
        for _ in range(20):
            if self.queue:
                taken = [self.queue.pop(0) for _ in range(min(max(count, 1), len(self.queue)))]
                return web.json_response(taken if count else taken[0])
            await asyncio.sleep(0.05)
        return web.Response(status=204)

    async def stop(self, request: web.Request) -> web.Response:
        for _ in range(20):
            if self.stops:
                stops, self.stops = self.stops, []
                return web.json_response({"jobsToStop": stops})
            await asyncio.sleep(0.05)
        return web.Response(status=204)

    async def finish(self, request: web.Request) -> web.Response:
        job = request.match_info["job"]
        self.is_stream[job] = request.query["isStream"]
        self.done.setdefault(job, []).append(json.loads(await request.text()))
        return web.Response()

    async def stream(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        self.streams.setdefault(request.match_info["job"], []).append(body["output"])
        return web.Response()

    async def ping(self, request: web.Request) -> web.Response:
        self.pings += 1
        return web.Response()

    def run(self, *jobs: dict[str, Any], timeout_s: float = 60) -> list[dict[str, Any]]:
        self.queue.extend(jobs)
        wait_until(lambda: all(job["id"] in self.done for job in jobs), timeout_s)
        return [self.done[job["id"]][0] for job in jobs]


def wait_until(true: Callable[[], bool], timeout_s: float = 30) -> None:
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@dataclass
class Process:
    """A worker, and the file that it writes to."""

    process: subprocess.Popen[bytes]
    file: Any

    def output(self) -> str:
        """All that it wrote; called once, at the end."""
        with self.file:
            self.file.seek(0)
            return self.file.read()


def start(url: str, **env: str) -> Process:
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("MODEL_", "RUNPOD_"))}
    variables |= {
        "RUNPOD_WEBHOOK_GET_JOB": f"{url}/job-take/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{url}/job-done/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{url}/job-stream/$RUNPOD_POD_ID/$ID?gpu=none",
        "RUNPOD_WEBHOOK_PING": f"{url}/ping/$RUNPOD_POD_ID",
        "RUNPOD_POD_ID": "worker-1",
        "RUNPOD_ENDPOINT_ID": "endpoint-1",
        "RUNPOD_AI_API_KEY": "key",
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",  # they ask a public name server
        "RUNPOD_SKIP_GPU_CHECK": "true",
        "DEVICE": "cpu",
        "FAKE_ENGINES": "1",
        **env,
    }
    output = tempfile.TemporaryFile("w+")  # noqa: SIM115 - lives as long as the process
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "handler"],
        cwd=ROOT, env=variables, stdout=output, stderr=subprocess.STDOUT,
    )  # fmt: skip
    return Process(process, output)


def stop(worker: Process) -> str:
    worker.process.send_signal(signal.SIGTERM)
    try:
        worker.process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        worker.process.kill()
        worker.process.wait()
        pytest.fail(f"the worker did not stop:\n{worker.output()[-2000:]}")
    return worker.output()


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    """A platform and one worker of all four surfaces."""
    one = Platform()
    with serve(one.application()) as url:
        process = start(url, CONCURRENCY="16")
        yield one
        output = stop(process)
        assert "Traceback" not in output
        assert "Hello" not in output, "a prompt or an answer was logged"


def job(name: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"id": name, "input": body}


def test_every_surface_answers_with_the_object_itself(platform):
    jobs = [job("a", CHAT), job("b", IMAGES), job("c", TRANSCRIBE), job("d", EMBEDDINGS)]
    chat, images, transcript, vectors = (done["output"] for done in platform.run(*jobs))
    check(ChatCompletion, chat)
    assert images["data"][0]["b64_json"]
    assert transcript["text"] == "12 bytes"
    assert vectors["object"] == "list"
    assert platform.is_stream["a"] == "false"


def test_a_stream_arrives_in_pieces_and_whole(platform):
    [done] = platform.run(job("s", {**CHAT, "stream": True}))
    chunks = platform.streams["s"]
    assert platform.is_stream["s"] == "true"
    assert done["output"] == chunks
    for chunk in chunks:
        check(ChatCompletionChunk, chunk)
    said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert said == "Hello"


def test_a_stream_on_the_openai_route_is_sse(platform):
    body = {"openai_route": "/v1/chat/completions", "openai_input": {**CHAT, "stream": True}}
    platform.run(job("o", body))
    text = "".join(platform.streams["o"])
    assert text.endswith("data: [DONE]\n\n")
    assert all(json.loads(one[6:]) for one in text.split("\n\n")[:-2])


@pytest.mark.parametrize("body", [{"foo": 1}, {**CHAT, "temperature": 9}, {**CHAT, "stream": 1}])
def test_errors_arrive_as_a_string(platform, body):
    [done] = platform.run(job(f"e{len(platform.done)}", body))
    assert error_of(done)["type"] == "invalid_request_error"


def test_errors_of_a_stream_arrive_as_a_string(platform):
    body = {**CHAT, "stream": True, "max_tokens": -1}
    [done] = platform.run(job("es", body))
    assert error_of(done)["param"] == "max_tokens"


def test_many_jobs_each_answered_once(platform):
    jobs = [job(f"m{n}", {"input": f"text {n}"}) for n in range(40)]
    results = platform.run(*jobs)
    assert all(result["output"]["object"] == "list" for result in results)
    assert all(len(platform.done[one["id"]]) == 1 for one in jobs)


def test_a_cancelled_job_is_stopped_and_the_worker_goes_on():
    platform = Platform()
    with serve(platform.application()) as url:
        process = start(url, SURFACE="chat", FAKE_DELAY_S="0.01")
        try:
            long = {"messages": [{"role": "user", "content": "x" * 3000}], "stream": True}
            platform.queue.append(job("long", long))
            wait_until(lambda: "long" in platform.streams)
            platform.stops.append("long")
            seen = -1
            while seen != (seen := len(platform.streams["long"])):
                time.sleep(1)
            [done] = platform.run(job("next", CHAT), timeout_s=10)
            assert done["output"]["choices"][0]["message"]["content"] == "Hello"
            assert "long" not in platform.done
        finally:
            stop(process)


def test_sigterm_lets_the_job_in_flight_finish():
    platform = Platform()
    with serve(platform.application()) as url:
        process = start(url, SURFACE="chat", FAKE_DELAY_S="0.02")
        platform.queue.append(
            job("slow", CHAT | {"messages": [{"role": "user", "content": "x" * 100}]})
        )
        wait_until(lambda: not platform.queue)
        time.sleep(0.5)
        output = stop(process)
        assert platform.done["slow"][0]["output"]["choices"][0]["finish_reason"] == "stop"
        assert "ready after" in output


def test_an_embeddings_worker_is_ready_and_imports_only_what_it_needs():
    """With the real default model: preloaded, one surface's libraries, the light SDK import."""
    platform = Platform()
    with serve(platform.application()) as url:
        process = start(url, SURFACE="embeddings", FAKE_ENGINES="0", PYTHONPROFILEIMPORTTIME="1")
        try:
            [done] = platform.run(job("x", EMBEDDINGS), timeout_s=120)
            assert len(done["output"]["data"][0]["embedding"]) == 384
            assert done["output"]["model"] == "All_MiniLM_L6_v2"
        finally:
            output = stop(process)
    imported = {line.rpartition("|")[2].strip() for line in output.splitlines() if "|" in line}
    assert {"sentence_transformers", "runpod"} <= imported
    assert not {"diffusers", "ctranslate2", "faster_whisper", "cpuinfo"} & imported
    assert "ready after" in output


def test_a_model_that_cannot_be_had_fails_its_jobs_clearly_and_the_worker_lives():
    platform = Platform()
    with serve(platform.application()) as url:
        env = {"MODEL_SLUG": "Llama3_8B_Instruct", "FAKE_ENGINES": "0", "MEMORY_BUDGET_GB": "80"}
        process = start(url, HF_TOKEN="", **env)
        try:
            for name in ("one", "two"):
                [done] = platform.run(job(name, CHAT))
                error = error_of(done)
                assert error["code"] == "weights_gated"
                assert "HF_TOKEN" in error["message"]
        finally:
            stop(process)

"""What the page stands on: its files and their rules, what it watches, and /metrics."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from local.api.board import changes
from local.environment import clean
from local.queue.endpoints import Endpoints
from local.queue.jobs import Order
from local.queue.limits import Limits
from local.queue.platform import Platform
from playground.pages import STATIC
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.pace import SLOW
from tests.support.running import Local, run_local, serve_worker, wait_until
from tests.support.servers import serve
from tests.support.serving import metric

FILES = sorted(STATIC.iterdir())


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    with run_local(2, FAKE_DELAY_S="0.01") as one:
        yield one


def snapshot(local: Local, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """The first event."""
    with httpx.stream("GET", f"{local.url}/playground/events", headers=headers) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line:
                return json.loads(line.removeprefix("data: "))
    raise AssertionError("it said nothing")


@pytest.mark.parametrize(
    "path", ["/", "/playground", *(f"/playground/{one.name}" for one in FILES)]
)
def test_the_pages_files_come_with_their_rules(local, path):
    answer = httpx.get(local.url + path)
    assert answer.status_code == 200
    rules = dict(
        part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
    )
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert answer.headers["x-content-type-options"] == "nosniff"
    kinds = {
        "html": "text/html",
        "css": "text/css",
        "js": "text/javascript",
        "svg": "image/svg+xml",
    }
    assert answer.headers["content-type"].startswith(
        kinds[path.rpartition(".")[2]] if "." in path else "text/html"
    )


@pytest.mark.parametrize(
    "name", ["nothing.js", "..%2fpages.py", "%2e%2e", "pages.py", "__init__.py"]
)
def test_no_other_file_is_there(local, name):
    assert httpx.get(f"{local.url}/playground/{name}").status_code == 404


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_is_asked_of_elsewhere(path):
    """No address of another server but those of documents, and of SVG's names."""
    text = path.read_text(encoding="utf-8")
    named = set(re.findall(r"https?://[\w.]+[\w/.-]*", text))
    for one in named - {"http://www.w3.org/2000/svg"}:
        assert re.search(rf"// .*{re.escape(one)}", text), one
    imported = re.findall(r'from "([^"]+)"|src="([^"]+)"|href="([^"#]+)"', text)
    of_the_server = {"openapi.json"}
    for one in {name for names in imported for name in names if name} - of_the_server:
        assert (STATIC / re.sub(r"^(\./|playground/|docs/)", "", one)).is_file(), one
    assert "innerHTML" not in text
    assert "style=" not in text


def test_the_page_is_told_what_it_is_served_by(local):
    told = httpx.get(f"{local.url}/playground/about.json").json()
    assert told == {
        "kind": "platform",
        "surfaces": ["chat", "images", "transcribe", "speech", "music", "embeddings"],
        "endpoints": ["chat", "images", "transcribe", "speech", "music", "embeddings", "all"],
        "limit_bytes": 20 * 1024 * 1024,
        "key": False,
    }


def test_jobs_and_workers_are_told_as_they_change(local):
    job_id = local.run("chat", {**SLOW, "model": "Fake_Chat"})
    wait_until(lambda: local.status("chat", job_id)["status"] == "IN_PROGRESS")
    told = snapshot(local)
    [job] = [one for one in told["jobs"] if one["id"] == job_id]
    assert (job["endpoint"], job["status"], job["about"]) == ("chat", "IN_PROGRESS", "Fake_Chat")
    assert abs(job["submitted"] - told["now"]) < 60_000
    assert job["submitted"] <= job["taken"] <= told["now"] + 50
    assert job["finished"] is None
    assert {one["state"] for one in told["workers"]} == {"idle", "running"}
    assert told["endpoints"]["chat"]["jobs"]["inProgress"] == 1
    with local.http() as http, httpx.stream("GET", f"{local.url}/playground/events") as response:
        lines = (line for line in response.iter_lines() if line)
        next(lines)
        http.post(f"/v2/chat/cancel/{job_id}")
        while True:
            changed = json.loads(next(lines).removeprefix("data: "))["jobs"]
            if any(one["id"] == job_id and one["status"] == "CANCELLED" for one in changed):
                break
        assert all(one["id"] == job_id for one in changed), "what did not change is not told again"


def test_a_job_is_told_with_its_input(local):
    job_id = local.run("chat", {**CHAT, "temperature": 9})
    local.end("chat", job_id)
    told = httpx.get(f"{local.url}/playground/jobs/chat/{job_id}").json()
    assert told["input"] == {**CHAT, "temperature": 9}
    assert told["status"] == "FAILED"
    assert json.loads(told["error"])["param"] == "temperature"
    [row] = [one for one in snapshot(local)["jobs"] if one["id"] == job_id]
    assert row["code"] == "invalid_value"
    assert httpx.get(f"{local.url}/playground/jobs/chat/nothing").status_code == 404


def test_metrics_are_those_of_all_workers_and_the_queues(local):
    for body in (EMBEDDINGS, {**EMBEDDINGS, "model": "nobody"}):
        local.end("embeddings", local.run("embeddings", body))
    text = httpx.get(f"{local.url}/metrics").text
    workers = {
        sample.labels["worker"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "quartet_memory_budget_bytes"
    }
    assert workers == {"worker-1", "worker-2"}
    route = {"route": "/v1/embeddings"}
    counted = [
        metric(local.url, "quartet_requests_total", worker=one, code="ok", **route)
        for one in sorted(workers)
    ]
    assert sum(counted) >= 1
    refused = [
        metric(local.url, "quartet_requests_total", worker=one, code="model_not_found", **route)
        for one in sorted(workers)
    ]
    assert sum(refused) == 1
    assert (
        metric(local.url, "quartet_queue_jobs_total", endpoint="embeddings", status="FAILED") == 1
    )
    assert metric(local.url, "quartet_queue_depth", endpoint="embeddings") == 0
    families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
    assert len(families) == len(set(families)), "a family is told once, of all workers"


def test_streams_are_counted_when_they_end(local):
    """Behind the queue, too: a stream that ends well, and one that is cancelled."""

    def counted(code: str) -> float:
        return sum(
            metric(
                local.url,
                "quartet_requests_total",
                worker=one,
                code=code,
                route="/v1/chat/completions",
            )
            for one in ("worker-1", "worker-2")
        )

    before = counted("ok"), counted("cancelled")
    local.end("chat", local.run("chat", {**CHAT, "stream": True}))
    wait_until(lambda: counted("ok") == before[0] + 1)
    job_id = local.run("chat", {**SLOW, "stream": True})
    wait_until(lambda: local.job("chat", job_id).chunks)
    with local.http() as http:
        http.post(f"/v2/chat/cancel/{job_id}")
    wait_until(lambda: counted("cancelled") == before[1] + 1)


def test_a_stream_that_fails_is_counted_by_its_code(local):
    job_id = local.run("chat", {**CHAT, "stream": True, "temperature": 9})
    assert local.end("chat", job_id)["status"] == "FAILED"
    known = {"code": "invalid_value", "route": "/v1/chat/completions"}

    def counted() -> list[float]:
        workers = ("worker-1", "worker-2")
        under_way = [metric(local.url, "quartet_requests_in_flight", worker=one) for one in workers]
        failed = [
            metric(local.url, "quartet_requests_total", worker=one, **known) for one in workers
        ]
        return [sum(under_way), sum(failed)]

    wait_until(lambda: counted()[0] == 0 and counted()[1] >= 1)


def test_what_runs_is_told_however_many_wait(monkeypatch):
    monkeypatch.setattr("local.api.board._JOBS", 3)
    with run_local(1, FAKE_DELAY_S="0.01", CONCURRENCY="1") as local:
        first = local.run("chat", SLOW)
        wait_until(lambda: local.status("chat", first)["status"] == "IN_PROGRESS")
        others = [local.run("chat", CHAT) for _ in range(5)]
        told = {one["id"]: one["status"] for one in snapshot(local)["jobs"]}
        assert told.pop(first) == "IN_PROGRESS"
        assert set(told) == set(others[-3:])
        with local.http() as http:
            http.post(f"/v2/chat/cancel/{first}")


def test_who_sits_on_a_workers_port_is_left_aside(monkeypatch):
    async def stranger(_: web.Request) -> web.Response:
        return web.Response(body=b"\xff\xfe no metrics {{{ 1\n")

    application = web.Application()
    application.router.add_get("/metrics", stranger)
    with serve(application) as url:
        monkeypatch.setattr("local.processes.free_port", lambda: int(url.rpartition(":")[2]))
        with run_local(1) as local:
            answer = httpx.get(f"{local.url}/metrics")
    assert answer.status_code == 200
    assert "quartet_queue_depth" in answer.text


def test_a_port_that_is_taken_stops_no_worker(monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr("local.processes.free_port", lambda: port)
        with run_local(1) as local:
            assert local.end("chat", local.run("chat", CHAT))["status"] == "COMPLETED"
            assert any(f"METRICS_PORT {port} cannot be had" in line for line in local.lines)


def test_workers_do_not_inherit_a_port_or_a_page():
    assert clean({"METRICS_PORT": "9", "PLAYGROUND": "1", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_the_documentation_of_the_api_needs_nobody_else(local):
    page = httpx.get(f"{local.url}/docs").text
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) >= 2
    for one in files:
        assert one.startswith("/"), one
        assert httpx.get(local.url + one).status_code == 200


def test_a_worker_serves_the_page_only_where_it_is_told_to():
    with serve_worker(PLAYGROUND="1") as url:
        assert httpx.get(f"{url}/playground").status_code == 200
        told = httpx.get(f"{url}/playground/about.json").json()
        assert told["kind"] == "worker"
        model = httpx.get(f"{url}/v1/models/Fake_Images").json()
        assert model["surface"] == "images"
        assert "negative_prompt" not in model["parameters"]
    with serve_worker() as url:
        assert httpx.get(f"{url}/playground").status_code == 404


def test_the_times_of_the_page_agree_though_the_clock_jumps(monkeypatch):
    async def both() -> list[dict[str, Any]]:
        platform = Platform(Endpoints(("chat",)), Limits())
        shown = [await anext(stream := changes(platform))]
        real = time.time
        monkeypatch.setattr(time, "time", lambda: real() + 7200)
        platform.queues.submit("chat", Order({}, 600, 600))
        shown.append(await anext(stream))
        await stream.aclose()
        return shown

    first, second = asyncio.run(both())
    [job] = second["jobs"]
    assert 0 <= second["now"] - first["now"] < 60_000
    assert 0 <= second["now"] - job["submitted"] < 60_000

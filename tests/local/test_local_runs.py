"""Runs of a job told apart: chunks that come twice, jobs that never arrive, stops that are not heard."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import openai
import psutil
import pytest

from local.api.faults import Faults
from local.environment import variables
from local.queue.limits import Limits
from tests.conftest import ROOT
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.running import WORKER, Local, environment, run_local, wait_until

FIRST, SECOND = "data: first\n\n", "data: second\n\n"


class Numbered:
    """A worker by hand that says what ours says: the runs that it has, and what reached it."""

    def __init__(self, local: Local, name: str = "numbered") -> None:
        self._url = f"{local.url}/v2/all"
        self._params = {"token": local.token, "job_in_progress": "1"}
        self._name = name
        self.poll = 100

    def take(self, *runs: int, poll: int | None = None) -> dict[str, Any] | None:
        self.poll += 1
        number = self.poll if poll is None else poll
        headers = {"X-Poll": str(number), "X-Runs": ",".join(map(str, runs))}
        response = self._ask("GET", f"job-take/{self._name}", headers)
        return response.json() if response.status_code == 200 else None

    def stops(self, seen: str) -> tuple[list[str], str | None]:
        response = self._ask("GET", f"job-stop/{self._name}", {"X-Stops-Seen": seen})
        if response.status_code == 204:
            return [], None
        return response.json()["jobsToStop"], response.headers["X-Stops"]

    def chunk(self, job: dict[str, Any], output: Any, sequence: int) -> None:
        headers = {"X-Run": str(job["runId"]), "X-Sequence": str(sequence)}
        self._post(f"job-stream/{self._name}/{job['id']}", output, headers)

    def done(self, job: dict[str, Any], output: Any, events: int = 0) -> None:
        headers = {"X-Run": str(job["runId"]), "X-Events": str(events)}
        self._post(f"job-done/{self._name}/{job['id']}", output, headers)

    def _post(self, path: str, output: Any, headers: dict[str, str]) -> None:
        content = json.dumps({"output": output})
        assert self._ask("POST", path, headers, content=content).status_code == 200

    def _ask(self, method: str, path: str, headers: dict[str, str], **body: Any) -> httpx.Response:
        url = f"{self._url}/{path}"
        return httpx.request(method, url, params=self._params, headers=headers, timeout=30, **body)


@contextmanager
def numbered(**limits: Any) -> Iterator[tuple[Local, Numbered]]:
    with run_local(0, limits=Limits(poll_s=0.5, letting_go_s=0.1, **limits)) as local:
        yield local, Numbered(local)


def read(local: Local, job_id: str) -> list[Any]:
    with local.http() as http:
        events = http.get(f"/v2/chat/stream/{job_id}").json()["stream"]
    return [event["output"] for event in events]


def act(local: Local, what: str, job_id: str) -> None:
    with local.http() as http:
        assert http.post(f"/v2/chat/{what}/{job_id}").status_code == 200


def test_a_chunk_that_is_posted_twice_is_there_once():
    with numbered() as (local, worker):
        job_id = local.run("chat", CHAT)
        job = worker.take()
        for output, sequence in ((FIRST, 0), (FIRST, 0), (SECOND, 1), (FIRST, 0)):
            worker.chunk(job, output, sequence)
        worker.done(job, {"whole": 1}, events=2)
        assert read(local, job_id) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("first", "mark"),
    [({"n": 0}, '"type": "stream.incomplete"'), (FIRST, '\\"code\\": \\"stream_incomplete\\"')],
)
def test_a_stream_that_is_not_complete_says_so_though_the_job_is(first, mark):
    with numbered() as (local, worker):
        job_id = local.run("chat", CHAT)
        job = worker.take()
        worker.chunk(job, first, 0)
        worker.done(job, {"whole": 1}, events=3)
        assert local.status("chat", job_id)["status"] == "COMPLETED"
        events = read(local, job_id)
        assert events[0] == first
        assert mark in json.dumps(events[1])


def test_openais_client_reads_numbered_events_and_raises_what_is_not_complete():
    with numbered() as (local, worker), ThreadPoolExecutor(1) as pool:
        base_url = f"{local.url}/v2/chat/openai/v1"

        def ask() -> list[str]:
            texts = list[str]()
            messages: Any = [{"role": "user", "content": "Hi"}]
            with (
                openai.OpenAI(base_url=base_url, api_key="any", max_retries=0) as client,
                pytest.raises(openai.APIError, match="not complete"),
            ):
                for chunk in client.chat.completions.create(
                    model="any", messages=messages, stream=True
                ):
                    texts.append(chunk.choices[0].delta.content or "")
            return texts

        answer = pool.submit(ask)
        wait_until(lambda: local.platform.queues.depth(["chat"]))
        job = worker.take()
        delta = {"choices": [{"index": 0, "delta": {"content": "Hello"}}]}
        for _ in range(2):
            worker.chunk(job, f"id: 0\ndata: {json.dumps(delta)}\n\n", 0)
        worker.done(job, [], events=3)
        assert answer.result(10) == ["Hello"]


@pytest.mark.parametrize("first", [{"n": 0}, FIRST])
def test_a_stream_that_is_retried_begins_with_a_mark_whoever_has_read_it(first):
    with numbered() as (local, worker):
        job_id = local.run("chat", CHAT)
        worker.chunk(worker.take(), first, 0)
        act(local, "cancel", job_id)
        act(local, "retry", job_id)
        again = Numbered(local, "another").take()
        assert again["id"] == job_id
        [mark] = read(local, job_id)
        assert "stream.restarted" in json.dumps(mark)
        assert type(mark) is type(first)
        # Its worker is lost before the first event: the mark stands for all that came before.
        loop, platform = local.loop, local.platform
        loop.call_soon_threadsafe(lambda: platform.gone(platform.workers["another"], "ended"))
        wait_until(lambda: local.status("chat", job_id)["status"] == "IN_QUEUE")
        assert "stream.restarted" in json.dumps(read(local, job_id))


def test_what_an_earlier_run_posts_does_not_reach_the_later_one():
    """Cancelled and retried, and given to the same worker, which has not heard of it."""
    with numbered() as (local, worker):
        job_id = local.run("chat", CHAT)
        first = worker.take()
        worker.chunk(first, {"of": "the first run"}, 0)
        act(local, "cancel", job_id)
        stops, number = worker.stops("0")
        assert stops == [job_id]
        act(local, "retry", job_id)
        worker.stops(number)
        wait_until(lambda: not local.platform.workers["numbered"].barred)
        second = worker.take()
        assert second["runId"] != first["runId"]
        worker.chunk(first, {"of": "the first run"}, 1)
        worker.chunk(second, {"of": "the second run"}, 0)
        worker.done(first, {"of": "the first run"})
        assert local.status("chat", job_id)["status"] == "IN_PROGRESS"
        worker.done(second, {"of": "the second run"}, events=1)
        assert local.status("chat", job_id)["output"] == {"of": "the second run"}
        [mark, event] = read(local, job_id)
        assert mark["type"] == "stream.restarted"
        assert event == {"of": "the second run"}


def test_a_stop_is_handed_out_until_it_is_seen():
    with numbered() as (local, worker):
        job_id = local.run("chat", CHAT)
        worker.take()
        act(local, "cancel", job_id)
        assert worker.stops("0")[0] == [job_id], "its answer is lost"
        act(local, "retry", job_id)
        assert worker.take() is None, "the worker still runs it"
        stops, number = worker.stops("0")
        assert stops == [job_id]
        assert worker.stops(number) == ([], None)
        assert worker.take()["id"] == job_id


def test_a_job_that_never_arrived_is_queued_again_at_the_next_poll():
    with numbered() as (local, worker):
        kept, lost = local.run("chat", CHAT), local.run("chat", {**CHAT, "user": "2"})
        job = worker.take()
        assert job["id"] == kept
        assert worker.take(job["runId"])["id"] == lost
        again = worker.take(job["runId"])
        assert again["id"] == lost
        assert local.job("chat", lost).tries == 1
        assert local.status("chat", kept)["status"] == "IN_PROGRESS"


def test_a_job_that_never_arrives_fails_after_a_while():
    with numbered(strays=3) as (local, worker):
        job_id = local.run("chat", CHAT)
        while local.status("chat", job_id)["status"] != "FAILED":
            worker.take()
        assert "lost 3 times on its way" in local.status("chat", job_id)["error"]


def test_an_old_poll_that_arrives_late_takes_nothing_and_puts_nothing_back():
    with numbered() as (local, worker):
        local.run("chat", CHAT)
        job = worker.take(poll=5)
        local.run("chat", CHAT)
        assert worker.take(poll=4) is None
        assert local.status("chat", job["id"])["status"] == "IN_PROGRESS"


# Real workers behind connections that fail -------------------------------------------------------


def test_a_real_worker_gets_a_job_whose_answer_was_lost_within_seconds():
    slow = {"messages": [{"role": "user", "content": "x" * 2000}]}
    faults = Faults()
    with run_local(1, faults=faults, limits=Limits(poll_s=0.5), FAKE_DELAY_S="0.02") as local:
        long = local.run("chat", slow)
        wait_until(lambda: local.job("chat", long).status == "IN_PROGRESS")
        faults.lost_takes = 1
        time.sleep(1)  # the poll that was open ends
        job_id = local.run("embeddings", EMBEDDINGS)
        assert local.end("embeddings", job_id, 15)["status"] == "COMPLETED"
        runs = [local.job("embeddings", job_id).runs, local.job("chat", long).runs]
        act(local, "cancel", long)
    assert faults.happened["lost take"] == 1
    assert runs == [2, 1]


def test_a_real_worker_stops_a_stream_though_the_first_stop_was_lost():
    slow = {"messages": [{"role": "user", "content": "x" * 2000}], "stream": True}
    faults = Faults()
    limits = Limits(poll_s=0.5)
    with run_local(
        1, faults=faults, limits=limits, surfaces=("chat",), FAKE_DELAY_S="0.02"
    ) as local:
        job_id = local.run("chat", slow)
        wait_until(lambda: local.job("chat", job_id).streamed)
        faults.lost_stops = 1
        time.sleep(1)  # the poll that was open ends
        act(local, "cancel", job_id)
        act(local, "retry", job_id)
        wait_until(lambda: local.job("chat", job_id).streamed, 20)
        time.sleep(1)
        act(local, "cancel", job_id)
        events = read(local, job_id)
    assert faults.happened["lost stop"] == 1
    assert events[0]["type"] == "stream.restarted"
    assert [event["sequence"] for event in events[1:]] == list(range(len(events) - 1))
    assert len({event["id"] for event in events[1:]}) == 1


def test_the_pings_of_a_worker_end_with_it():
    """Of one that nobody watches: here a worker's group is killed after it."""
    with run_local(0, surfaces=("chat",)) as local:
        said = variables(local.url, "all", "by-hand", local.token)
        env = environment(SURFACE="chat", **said)
        with subprocess.Popen(WORKER, cwd=ROOT, env=env, start_new_session=True) as process:
            local.ready(1)
            [pings] = psutil.Process(process.pid).children()
            process.kill()
            process.wait()
            wait_until(lambda: not _runs(pings), 5)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False

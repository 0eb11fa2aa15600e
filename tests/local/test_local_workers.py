"""What may befall a worker: it dies, leaves, hangs, answers too much. No job is lost, none done twice."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from local.queue.limits import Limits
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.receiver import Receiver
from tests.support.running import Local, run_local, wait_until
from tests.support.servers import serve

SLOW = {"messages": [{"role": "user", "content": "x" * 100}]}  # 2 s with 20 ms a token


def worker_of(code: str) -> tuple[str, ...]:
    """A worker of the SDK alone, around the handler that ``code`` defines."""
    start = "import runpod, asyncio, os\nrunpod.RunPodLogger().level = 'WARN'\n"
    end = "\nrunpod.serverless.start({'handler': handler, 'concurrency_modifier': lambda _: 4})"
    return sys.executable, "-c", start + code + end


def test_a_worker_killed_in_mid_job_loses_nothing():
    with run_local(2, SURFACE="chat", surfaces=("chat",), FAKE_DELAY_S="0.02") as local:
        job_id = local.run("chat", SLOW)
        wait_until(lambda: local.status("chat", job_id)["status"] == "IN_PROGRESS")
        first = local.status("chat", job_id)["workerId"]
        time.sleep(0.3)
        local.kill(first, signal.SIGKILL)
        done = local.end("chat", job_id, 20)
        assert done["status"] == "COMPLETED"
        assert done["workerId"] != first
        assert done["output"]["choices"][0]["message"]["content"] == "x" * 100
        with local.http() as http:
            assert http.get("/v2/chat/health").json()["jobs"]["retried"] == 1
        local.ready(2)  # another one took its place


@pytest.mark.parametrize("route", [None, "/v1/chat/completions"])
def test_a_stream_that_begins_anew_says_so(route):
    """Who has read the beginning would take what comes for its continuation."""
    body: dict[str, Any] = {**SLOW, "stream": True}
    if route is not None:
        body = {"openai_route": route, "openai_input": body}
    with run_local(2, SURFACE="chat", surfaces=("chat",), FAKE_DELAY_S="0.02") as local:
        job_id, read = local.run("chat", body), list[Any]()

        def more() -> list[Any]:
            with local.http() as http:
                read.extend(
                    one["output"] for one in http.get(f"/v2/chat/stream/{job_id}").json()["stream"]
                )
            return read

        wait_until(lambda: len(more()) > 1)
        local.kill(local.status("chat", job_id)["workerId"], signal.SIGKILL)
        local.end("chat", job_id, 20)
        more()
    marks = [index for index, one in enumerate(read) if "stream.restarted" in json.dumps(one)]
    assert len(marks) == 1
    mark, after = read[marks[0]], read[marks[0] + 1 :]
    if route is not None:
        assert mark.startswith("event: stream.restarted\ndata: {")
        mark = json.loads(mark.split("data: ")[1])
        events = "".join(after).split("\n\n")[:-2]
        after = [json.loads(event.split("data: ", 1)[1]) for event in events]
    assert (mark["type"], mark["attempt"], mark["choices"]) == ("stream.restarted", 2, [])
    said = "".join(one["choices"][0]["delta"].get("content") or "" for one in after)
    assert said == "x" * 100


@pytest.mark.slow
def test_many_jobs_over_three_workers_while_one_is_killed():
    """200 jobs, a kill -9 in the middle: each ends once, with its own answer."""
    receiver = Receiver()
    env = {"FAKE_DELAY_S": "0.05", "CONCURRENCY": "16"}
    with serve(receiver.application()) as url, run_local(3, **env) as local:

        def submit(n: int) -> str:
            body = {"input": f"text {n}", "model": "Fake_Embeddings"}
            return local.run("embeddings", body, webhook=f"{url}/hook")

        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(submit, range(200)))
        busy = lambda: local.platform.workers["worker-2"].jobs  # noqa: E731
        wait_until(busy)
        local.kill("worker-2", signal.SIGKILL)
        ends = [local.end("embeddings", job_id, 60) for job_id in ids]
        wait_until(lambda: len(receiver.bodies) >= 200)
        time.sleep(0.5)
        retried = [job_id for job_id in ids if local.job("embeddings", job_id).tries > 1]
        with local.http() as http:
            ended = http.get("/v2/embeddings/health").json()["jobs"]["completed"]
    assert [one["status"] for one in ends] == ["COMPLETED"] * 200
    tokens = [one["output"]["usage"]["prompt_tokens"] for one in ends]
    assert tokens == [len(f"text {n}") for n in range(200)]
    told = [json.loads(body)["id"] for body in receiver.bodies]
    assert sorted(told) == sorted(ids), "a job was told of twice, or never"
    assert ended == 200, "a job ended twice"
    assert retried, "nothing was in hand when the worker was killed"
    assert len({one["workerId"] for one in ends}) >= 2


def test_a_job_that_kills_every_worker_fails_after_a_few():
    command = worker_of("def handler(job): os.kill(os.getpid(), 9)")
    with run_local(1, command=command, limits=Limits(tries=2)) as local:
        job_id = local.run("chat", CHAT)
        done = local.end("chat", job_id, 40)
        assert done["status"] == "FAILED"
        assert done["error"] == "2 workers were lost on this job."


def test_sigterm_finishes_what_is_in_flight():
    with run_local(1, surfaces=("chat",), FAKE_DELAY_S="0.02") as local:
        job_id = local.run("chat", SLOW)
        wait_until(lambda: local.status("chat", job_id)["status"] == "IN_PROGRESS")
        time.sleep(0.3)
        local.kill("worker-1", signal.SIGTERM)
        done = local.end("chat", job_id, 20)
        assert done["status"] == "COMPLETED"
        assert done["workerId"] == "worker-1"
        assert local.job("chat", job_id).tries == 1


@pytest.mark.parametrize(("rounds", "padding"), [(8, 0), (3, 3_000_000)])
def test_a_job_that_is_cancelled_before_it_starts_never_runs(rounds, padding):
    """The SDK drops a stop for a job that it has taken and not started yet, up to 100 ms later, and
    one that overtakes its job: one of megabytes is still being read when the stop arrives."""
    with run_local(1, surfaces=("chat",), FAKE_DELAY_S="0.02", CONCURRENCY="16") as local:
        slow = {"messages": [{"role": "user", "content": "x" * 1000}], "user": "p" * padding}
        with local.http() as http:
            for _ in range(rounds):
                job_id = local.run("chat", slow)
                wait_until(lambda job_id=job_id: local.job("chat", job_id).status == "IN_PROGRESS")
                http.post(f"/v2/chat/cancel/{job_id}")
        quick = {"messages": [{"role": "user", "content": "Hi"}]}
        assert local.end("chat", local.run("chat", quick), 10)["status"] == "COMPLETED"


@pytest.mark.slow
def test_a_stream_that_is_cancelled_at_any_moment_frees_the_engine():
    """Also amid the delivery of a chunk, where the SDK leaves the generator open."""
    quick = {"messages": [{"role": "user", "content": "Hi"}]}
    slow = {"messages": [{"role": "user", "content": "x" * 1000}], "stream": True}
    with run_local(1, surfaces=("chat",), FAKE_DELAY_S="0.01") as local:
        with local.http() as http:
            for round_ in range(12):
                job_id = local.run("chat", slow)
                wait_until(lambda job_id=job_id: local.job("chat", job_id).chunks)
                time.sleep(0.05 + 0.017 * round_)
                http.post(f"/v2/chat/cancel/{job_id}")
                start = time.monotonic()
                assert local.end("chat", local.run("chat", quick), 9)["status"] == "COMPLETED"
                assert time.monotonic() - start < 3, f"round {round_}"
    output = "\n".join(local.lines)
    assert "asynchronous generator" not in output
    assert "internal_error" not in output


@pytest.mark.parametrize("who", ["ours", pytest.param("the SDK alone", marks=pytest.mark.slow)])
def test_a_job_that_arrives_in_the_closing_poll_is_not_lost(who):
    """At SIGTERM the SDK's poll stays open. What it brings our worker runs; the SDK alone does not,
    and there the platform gives the job to the next worker."""
    bare = worker_of("async def handler(job): return {'worker': os.environ['RUNPOD_POD_ID']}")
    with run_local(1, command=None if who == "ours" else bare) as local:
        time.sleep(0.5)
        local.kill("worker-1", signal.SIGTERM)
        time.sleep(0.5)  # the loop that runs jobs has ended by now; the poll is still open
        start = time.monotonic()
        job_id = local.run("embeddings", EMBEDDINGS)
        done = local.end("embeddings", job_id, 30)
        assert done["status"] == "COMPLETED"
        if who == "ours":
            assert done["workerId"] == "worker-1"
            assert time.monotonic() - start < 3
        else:
            assert done["workerId"] == "worker-2"
            assert local.job("embeddings", job_id).tries == 2


def test_a_job_that_runs_too_long_times_out_and_frees_its_worker():
    limits = Limits(execution_timeout_s=1.5)
    with run_local(1, limits=limits, surfaces=("chat",), FAKE_DELAY_S="0.05") as local:
        job_id = local.run("chat", SLOW)
        done = local.end("chat", job_id)
        assert done["status"] == "TIMED_OUT"
        assert "executionTimeout" in done["error"]
        assert 1400 <= done["executionTime"] < 3000
        next_id = local.run("chat", {"messages": [{"role": "user", "content": "Hi"}]})
        assert local.end("chat", next_id, 5)["status"] == "COMPLETED"


def test_a_job_that_nobody_takes_in_time_times_out():
    with run_local(0, limits=Limits(ttl_s=0.3)) as local:
        job_id = local.run("chat", CHAT)
        done = local.end("chat", job_id, 5)
        assert done["status"] == "TIMED_OUT"
        assert "executionTime" not in done
        assert not local.platform.queues.depth(["chat"])


def test_a_result_over_the_limit_is_refused_and_said():
    limits = Limits(run_bytes=5_000)
    env = {"OUTPUT_LIMIT_BYTES": "9000000"}
    with run_local(1, limits=limits, **env) as local:
        done = local.end("embeddings", local.run("embeddings", {"input": ["text"] * 100}))
        assert done["status"] == "FAILED"
        assert "5000" in done["error"]
        small = local.end("embeddings", local.run("embeddings", EMBEDDINGS))
        assert small["status"] == "COMPLETED"


def test_our_worker_says_itself_when_an_answer_is_too_large():
    with run_local(1, OUTPUT_LIMIT_BYTES="5000") as local:
        done = local.end("embeddings", local.run("embeddings", {"input": ["text"] * 100}))
        assert done["status"] == "FAILED"
        assert json.loads(done["error"])["code"] == "output_too_large"


def test_a_chunk_over_the_limit_is_refused():
    code = "async def handler(job):\n    yield 'a'\n    yield 'b' * 2000\n    yield 'c'"
    limits = Limits(chunk_bytes=1000)
    with run_local(1, command=worker_of(code), limits=limits) as local:
        job_id = local.run("chat", CHAT)
        assert local.end("chat", job_id, 40)["status"] == "COMPLETED"
        assert local.job("chat", job_id).chunks == ["a", "c"]


def test_a_worker_that_asks_to_be_replaced_is():
    """The SDK's ``refresh_worker``: our worker asks for it when its GPU is lost."""
    code = (
        "async def handler(job): return {'by': os.environ['RUNPOD_POD_ID'], 'refresh_worker': True}"
    )
    with run_local(1, command=worker_of(code)) as local:
        first = local.end("chat", local.run("chat", CHAT))
        second = local.end("chat", local.run("chat", CHAT))
        assert [first["output"], second["output"]] == [{"by": "worker-1"}, {"by": "worker-2"}]


def test_progress_is_shown_and_is_no_result():
    code = (
        "async def handler(job):\n"
        "    runpod.serverless.progress_update(job, 'half')\n"
        "    await asyncio.sleep(1)\n"
        "    return 'whole'"
    )
    with run_local(1, command=worker_of(code)) as local:
        job_id = local.run("chat", CHAT)
        wait_until(lambda: local.status("chat", job_id).get("output") == "half")
        assert local.status("chat", job_id)["status"] == "IN_PROGRESS"
        assert local.end("chat", job_id)["output"] == "whole"


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("return {'error': {'code': 'x'}}", "FAILED", '{"code": "x"}'),
        ("return float('nan')", "FAILED", "not JSON"),
        ("return '\\ud800'", "FAILED", None),
        ("return 'x' * 30_000_000", "FAILED", "refused"),
    ],
)
def test_what_a_worker_should_not_answer(code, status, said):
    """The SDK itself gives up on half a character; the job is run again, and then fails."""
    limits = Limits(tries=1)
    with run_local(1, command=worker_of(f"async def handler(job): {code}"), limits=limits) as local:
        job_id = local.run("chat", CHAT)
        done = local.end("chat", job_id, 40)
        assert done["status"] == status
        if said is not None:
            assert said in done["error"]
        with local.http() as http:
            proxy = http.post("/v2/chat/openai/v1/chat/completions", json=CHAT)
        assert proxy.status_code == 500
        assert isinstance(proxy.json()["error"]["code"], str)


def test_a_worker_of_many_surfaces_is_not_held_up_by_the_slowest_of_them():
    with run_local(1) as local:
        local.end("embeddings", local.run("embeddings", EMBEDDINGS), 60)  # the worker has started
        start = time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            ids = list(pool.map(lambda _: local.run("embeddings", EMBEDDINGS), range(60)))
        assert all(local.end("embeddings", one)["status"] == "COMPLETED" for one in ids)
        assert time.monotonic() - start < 16  # three at a time it takes twenty


def test_workers_know_no_secret_and_print_no_address():
    code = "async def handler(job): print('at', os.environ['RUNPOD_WEBHOOK_PING'], flush=True); return dict(os.environ)"
    env = {"LOCAL_API_KEY": "secret", "WEBHOOK_SIGNING_SECRET": "secret"}
    with run_local(1, command=worker_of(code), **env) as local:
        seen = local.end("chat", local.run("chat", CHAT))["output"]
        wait_until(lambda: any("at http" in line for line in local.lines))
    assert not {"LOCAL_API_KEY", "WEBHOOK_SIGNING_SECRET"} & set(seen)
    assert local.token not in "\n".join(local.lines)


class ByHand:
    """A worker that speaks the protocol itself, to do what the SDK would not."""

    def __init__(self, local: Local, name: str) -> None:
        self._http = httpx.Client(base_url=f"{local.url}/v2/all", params={"token": local.token})
        self._name = name

    def take(self, **params: str) -> dict[str, Any] | None:
        merged = {**dict(self._http.params), **params}
        response = self._http.get(f"/job-take/{self._name}", params=merged)
        return response.json() if response.status_code == 200 else None

    def stops(self) -> list[str]:
        response = self._http.get(f"/job-stop/{self._name}")
        return response.json()["jobsToStop"] if response.status_code == 200 else []

    def done(self, job_id: str, output: Any) -> int:
        content = json.dumps({"output": output})
        return self._http.post(f"/job-done/{self._name}/{job_id}", content=content).status_code

    def ping(self) -> None:
        self._http.get(f"/ping/{self._name}")

    def close(self) -> None:
        self._http.close()


def test_only_the_worker_that_has_a_job_can_end_it_and_only_once():
    with run_local(0) as local:
        one, other = ByHand(local, "one"), ByHand(local, "other")
        job_id = local.run("chat", CHAT)
        job = one.take()
        assert job["id"] == job_id
        assert job["input"] == CHAT
        assert other.done(job_id, "stolen") == 200
        assert local.status("chat", job_id)["status"] == "IN_PROGRESS"
        one.done(job_id, "mine")
        one.done(job_id, "again")
        assert local.status("chat", job_id)["output"] == "mine"
        one.close()
        other.close()


def test_a_silent_worker_loses_its_jobs_and_a_late_answer_counts_no_more():
    with run_local(0, limits=Limits(worker_silence_s=0.5)) as local:
        silent, next_one = ByHand(local, "silent"), ByHand(local, "next")
        job_id = local.run("chat", CHAT)
        assert silent.take()["id"] == job_id
        wait_until(lambda: local.status("chat", job_id)["status"] == "IN_QUEUE", 5)
        assert next_one.take()["id"] == job_id
        silent.done(job_id, "late")
        assert local.status("chat", job_id)["status"] == "IN_PROGRESS"
        next_one.done(job_id, "good")
        assert local.status("chat", job_id)["output"] == "good"
        silent.close()
        next_one.close()


def test_a_worker_that_asks_with_nothing_in_hand_has_lost_what_it_had():
    """Another process under the same id, or a result that could not be delivered."""
    with run_local(0) as local:
        ids = [local.run("chat", {**CHAT, "user": str(n)}) for n in range(3)]
        worker = ByHand(local, "again")
        assert [worker.take(job_in_progress="1")["id"] for _ in ids] == ids
        again = [worker.take(job_in_progress="0" if n == 0 else "1")["id"] for n in range(3)]
        assert again == ids, "in the order they had"
        worker.close()


def test_a_frozen_worker_that_is_back_stops_what_others_have_now():
    with run_local(0, limits=Limits(worker_silence_s=0.4, poll_s=0.3)) as local:
        frozen = ByHand(local, "frozen")
        job_id = local.run("chat", CHAT)
        assert frozen.take()
        wait_until(lambda: local.status("chat", job_id)["status"] == "IN_QUEUE", 5)
        assert frozen.take() is None, "it still runs it"
        assert frozen.stops() == [job_id]
        frozen.done(job_id, "of the first time")
        wait_until(lambda: frozen.take(), 10)
        assert local.job("chat", job_id).tries == 2
        frozen.done(job_id, "good")
        assert local.status("chat", job_id)["output"] == "good"
        frozen.close()


def test_a_worker_that_is_to_leave_does_not_ask_without_a_pause():
    with run_local(0, limits=Limits(poll_s=0.5)) as local:
        worker = ByHand(local, "leaving")
        local.run("chat", CHAT)
        job = worker.take()
        worker.done(job["id"], "x")
        local.loop.call_soon_threadsafe(
            lambda: local.platform.dismiss(local.platform.workers["leaving"])
        )
        local.run("chat", CHAT)
        start = time.monotonic()
        assert [worker.take() for _ in range(2)] == [None, None]
        assert time.monotonic() - start > 0.9
        worker.close()


def test_a_worker_that_pings_keeps_its_jobs():
    with run_local(0, limits=Limits(worker_silence_s=0.5)) as local:
        worker = ByHand(local, "busy")
        job_id = local.run("chat", CHAT)
        assert worker.take()
        for _ in range(15):
            worker.ping()
            time.sleep(0.1)
        assert local.status("chat", job_id)["status"] == "IN_PROGRESS"
        worker.close()


def test_a_worker_whose_poll_breaks_off_is_gone_though_its_pings_go_on():
    """The SDK pings from a process of its own, which a kill -9 of the worker leaves alive."""
    with run_local(0, limits=Limits(cut_poll_s=0.3)) as local:
        dead = ByHand(local, "dead")
        job_id = local.run("chat", CHAT)
        assert dead.take()
        with pytest.raises(httpx.ReadTimeout):
            httpx.get(
                f"{local.url}/v2/all/job-stop/dead", params={"token": local.token}, timeout=0.3
            )
        for _ in range(10):
            dead.ping()
            time.sleep(0.1)
        assert local.status("chat", job_id)["status"] == "IN_QUEUE"
        dead.close()


def test_idle_workers_share_what_comes():
    with run_local(0) as local:
        got: dict[str, int] = {}

        def take(name: str) -> None:
            params = {"token": local.token, "batch_size": "100"}
            jobs = httpx.get(f"{local.url}/v2/all/job-take-batch/{name}", params=params, timeout=30)
            got[name] = len(jobs.json())

        def elsewhere() -> None:
            params = {"token": local.token, "batch_size": "100"}
            httpx.get(f"{local.url}/v2/chat/job-take-batch/other", params=params, timeout=30)

        async def submit_at_once() -> None:
            from local.api.client import read_order

            order = read_order({"input": EMBEDDINGS}, local.platform.limits)
            for _ in range(30):
                local.platform.queues.submit("embeddings", order)

        threads = [threading.Thread(target=take, args=(f"w{n}",)) for n in range(3)]
        other = threading.Thread(target=elsewhere)  # serves another endpoint, and is no rival
        for thread in [*threads, other]:
            thread.start()
        wait_until(lambda: len(local.platform.workers) == 4)
        asyncio.run_coroutine_threadsafe(submit_at_once(), local.loop).result(5)
        for thread in [*threads, other]:
            thread.join()
        assert sum(got.values()) == 30
        assert min(got.values()) >= 8


def test_a_platform_that_stops_takes_no_jobs():
    with run_local(0) as local, local.http() as http:
        local.loop.call_soon_threadsafe(local.platform.drain)
        wait_until(lambda: local.platform.draining)
        assert http.post("/v2/chat/run", json={"input": CHAT}).status_code == 503
        answer = http.post("/v1/embeddings", json=EMBEDDINGS)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "upstream_error"

"""What a platform may do to a worker: refuse it, drop it, be slow, be away. No result is lost."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from local.api.faults import Faults
from local.environment import variables
from local.queue.limits import Limits
from tests.conftest import ROOT
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.receiver import Receiver
from tests.support.running import Local, environment, run_local, wait_until
from tests.support.servers import serve

# A platform that is away is not one that thinks its workers are lost.
PATIENT = Limits(cut_poll_s=600, worker_silence_s=600)


def submit(local: Local, count: int, texts: int, url: str) -> list[str]:
    def one(n: int) -> str:
        return local.run("embeddings", {"input": [f"text {n}"] * texts}, webhook=f"{url}/hook")

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(one, range(count)))


def through(jobs: int, texts: int, away_s: float, slow_s: float, timeout_s: float) -> int:
    """Jobs while a fifth of all posts fails, and the platform is away for a while amid them.

    Returns:
        By how many bytes the worker has grown.
    """
    receiver, faults = Receiver(), Faults(share=0.2, slow_s=slow_s)
    env = {"CONCURRENCY": "64"}
    with (
        serve(receiver.application()) as url,
        run_local(1, limits=PATIENT, faults=faults, **env) as local,
    ):
        worker = psutil.Process(local.workers.pids()["worker-1"])
        local.end("embeddings", local.run("embeddings", EMBEDDINGS))
        before = worker.memory_info().rss
        first = submit(local, jobs // 2, texts, url)
        faults.away = True
        second = submit(local, jobs - len(first), texts, url)
        time.sleep(away_s)
        faults.away = False
        completed = lambda: local.platform.queues.endpoints["embeddings"].ended["COMPLETED"]  # noqa: E731
        wait_until(lambda: completed() >= jobs + 1, timeout_s)
        wait_until(lambda: len(receiver.bodies) >= jobs, 30)
        ends = [local.job("embeddings", job_id) for job_id in (*first, *second)]
        grown = worker.memory_info().rss - before
    assert [one.output["usage"]["prompt_tokens"] for one in ends] == [
        texts * len(f"text {n}") for half in (first, second) for n in range(len(half))
    ]
    told = [json.loads(body)["id"] for body in receiver.bodies]
    assert sorted(told) == sorted((*first, *second)), "a job was told of twice, or never"
    assert completed() == jobs + 1, "a job ended twice"
    assert all(one.tries == 1 for one in ends), "a job was run twice"
    assert {"drop", "drop after", "500", "502", "slow", "away"} <= set(faults.happened)
    assert not [line for line in local.lines if "is lost" in line]
    return grown


@pytest.mark.slow
def test_every_result_is_delivered_though_posts_fail():
    through(jobs=300, texts=1, away_s=3, slow_s=1, timeout_s=60)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_two_thousand_results_are_delivered_though_the_platform_is_away_for_half_a_minute():
    grown = through(jobs=2000, texts=200, away_s=30, slow_s=5, timeout_s=240)
    assert grown < 50 << 20, "of the 60 MB of results, few may be held"


def test_a_stream_is_whole_though_chunks_are_dropped_and_refused():
    faults = Faults(share=0.5, slow_s=0.1)
    body = {"messages": [{"role": "user", "content": "Hello " * 5}], "stream": True}
    with run_local(1, faults=faults, limits=PATIENT, surfaces=("chat",)) as local:
        job_id = local.run("chat", body)
        done = local.end("chat", job_id, 60)
        assert done["output"]["choices"][0]["message"]["content"] == "Hello " * 5
        chunks = local.job("chat", job_id).chunks
        numbers = [chunk["sequence"] for chunk in chunks]
        assert numbers == sorted(set(numbers)), "none comes twice"
        events = [chunk for chunk in chunks if chunk["choices"]]
        said = "".join(event["choices"][0]["delta"].get("content") or "" for event in events)
        complete = chunks[-1].get("type") != "stream.incomplete"
        assert said == "Hello " * 5 if complete else ("Hello " * 5).startswith(said)
    assert faults.happened


def test_a_refusal_is_final_and_said_with_what_is_lost():
    """A result over the limit is refused with 400: sending it again would change nothing."""
    with run_local(1, limits=Limits(run_bytes=5_000), OUTPUT_LIMIT_BYTES="9000000") as local:
        job_id = local.run("embeddings", {"input": ["text"] * 100})
        local.end("embeddings", job_id)
        wait_until(lambda: any("is lost" in line for line in local.lines))
        [line] = [one for one in local.lines if "is lost" in one]
        assert "status 400" in line
        assert "bytes" in line
        assert local.token not in line


@pytest.mark.parametrize(("retry_after_s", "least_s", "most_s"), [(1, 2.0, 6), (None, 0.5, 4)])
def test_a_platform_that_is_busy_is_left_alone_for_a_while(retry_after_s, least_s, most_s):
    faults = Faults(retry_after_s=retry_after_s)
    with run_local(1, faults=faults, surfaces=("embeddings",)) as local:
        faults.busy = 2
        start = time.monotonic()
        done = local.end("embeddings", local.run("embeddings", EMBEDDINGS))
        # The poll that is open is answered; the next two are refused.
        again = local.end("embeddings", local.run("embeddings", EMBEDDINGS))
        took = time.monotonic() - start
        assert done["status"] == again["status"] == "COMPLETED"
        assert least_s < took < most_s
        assert faults.happened["busy"] == 2


def test_sigterm_waits_for_results_that_are_not_taken_yet():
    faults = Faults()
    with run_local(1, faults=faults, limits=PATIENT, FAKE_DELAY_S="0.5") as local:
        job_id = local.run("embeddings", EMBEDDINGS)
        wait_until(lambda: local.job("embeddings", job_id).status == "IN_PROGRESS")
        faults.away = True
        time.sleep(1)
        local.kill("worker-1", signal.SIGTERM)
        time.sleep(1)
        faults.away = False
        done = local.end("embeddings", job_id, 20)
        assert done["status"] == "COMPLETED"
        assert done["workerId"] == "worker-1"


def test_a_platform_that_holds_no_poll_open_is_not_asked_without_a_pause():
    with run_local(1, limits=Limits(poll_s=0.0), surfaces=("chat",)) as local:
        asked, take = [], local.platform.take

        async def counted(worker: Any, count: int) -> Any:
            asked.append(time.monotonic())
            return await take(worker, count)

        local.platform.take = counted  # type: ignore[method-assign]
        time.sleep(3)
        assert 0 < len(asked) < 12
        job_id = local.run("chat", CHAT)
        assert local.end("chat", job_id, 20)["status"] == "COMPLETED"


# A worker that cannot work -----------------------------------------------------------------------


def hung(**fields: Any) -> dict[str, Any]:
    return {**EMBEDDINGS, "model": "Fake_Hung", **fields}


def test_a_worker_with_a_hung_device_says_so_and_is_replaced():
    with run_local(1, HUNG_AFTER_S="1") as local:
        ok = local.end("embeddings", local.run("embeddings", EMBEDDINGS))
        assert ok["workerId"] == "worker-1"
        policy = {"executionTimeout": 5000}
        start = time.monotonic()
        first = local.run("embeddings", hung(), policy=policy)
        waiting = local.run("embeddings", hung())  # its own time is 600 s
        for job_id in (first, waiting):
            done = local.end("embeddings", job_id, 20)
            assert done["status"] == "FAILED"
            assert json.loads(done["error"])["code"] == "device_lost"
        assert time.monotonic() - start < 5, "the platform would have ended it"
        after = local.end("embeddings", local.run("embeddings", EMBEDDINGS), 30)
        assert after["status"] == "COMPLETED"
        assert after["workerId"] == "worker-2"
        chat = local.end("chat", local.run("chat", CHAT), 30)
        assert chat["status"] == "COMPLETED"


def test_a_worker_with_a_hung_device_ends_though_nobody_replaces_it():
    with run_local(0) as local:
        said = variables(local.url, "all", "by-hand", local.token)
        env = {**environment(CONCURRENCY="4", HUNG_AFTER_S="1"), **said}
        process = subprocess.Popen(
            [sys.executable, "-m", "handler"], cwd=ROOT, env=env,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        with process:
            try:
                local.ready(1)
                policy = {"executionTimeout": 5000}
                job_id = local.run("embeddings", hung(), policy=policy)
                assert local.end("embeddings", job_id, 20)["status"] == "FAILED"
                output, _ = process.communicate(timeout=20)
            finally:
                process.kill()
        assert process.returncode == 1
        assert "the device is lost" in output
        assert "Traceback" not in output

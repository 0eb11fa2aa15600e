"""Scaling with real worker processes: started with the load, stopped when idle, no job lost."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterable
from typing import Any

from local.queue.endpoints import Served
from local.queue.scale import QueueDelay, RequestCount, Scale
from tests.support.bodies import CHAT, EMBEDDINGS
from tests.support.running import Local, run_local, wait_until

ONE_BY_ONE = {"FAKE_DELAY_S": "0.02", "CONCURRENCY": "1"}  # a letter of a chat takes 20 ms


def chat(text: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}]}


def health(local: Local, endpoint: str) -> dict[str, Any]:
    with local.http() as http:
        return http.get(f"/v2/{endpoint}/health").json()


def ready(local: Local, endpoint: str) -> int:
    return health(local, endpoint)["workers"]["ready"]


def alive(pids: Iterable[int]) -> list[str]:
    """The processes of these sessions: each worker, and what it started."""
    sessions = ",".join(str(pid) for pid in pids)
    listed = subprocess.run(
        ["ps", "-o", "stat=,args=", "-s", sessions], capture_output=True, text=True, check=False
    )
    return [line for line in listed.stdout.splitlines() if not line.startswith("Z")]


def test_a_burst_has_three_workers_then_one_again_and_every_job_is_done_once():
    scale = Scale(RequestCount(2), min_workers=1, idle_timeout_s=1)
    texts: dict[str, str] = {}
    with run_local(scale=scale, surfaces=("chat",), **ONE_BY_ONE) as local:

        def submit() -> None:
            text = f"text {len(texts)} of many"
            texts[local.run("chat", chat(text))] = text

        def at_the_peak() -> bool:
            """The burst goes on until the third worker is there, however slow this machine is."""
            now = health(local, "chat")
            if now["jobs"]["inQueue"] < 8:
                submit()
            return now["workers"]["ready"] == 3

        wait_until(lambda: ready(local, "chat") == 1, 60)
        for _ in range(12):
            submit()
        wait_until(at_the_peak, 90)
        peak = local.workers.pids()
        assert len(peak) == 3
        assert alive(peak.values())
        done = {job_id: local.end("chat", job_id, 60) for job_id in texts}
        wait_until(lambda: ready(local, "chat") == 1)
        wait_until(lambda: len(local.workers.pids()) == 1)
        left = local.workers.pids()
        assert not alive(pid for name, pid in peak.items() if name not in left)
        tries = [local.job("chat", job_id).tries for job_id in texts]
        jobs = health(local, "chat")["jobs"]
    answers = [one["output"]["choices"][0]["message"]["content"] for one in done.values()]
    assert answers == list(texts.values())
    assert {one["status"] for one in done.values()} == {"COMPLETED"}
    assert {one["workerId"] for one in done.values()} == set(peak)
    nothing_else = {"failed": 0, "inProgress": 0, "inQueue": 0, "retried": 0}
    assert jobs == {"completed": len(texts), **nothing_else}
    assert set(tries) == {1}
    ran = [line for line in local.lines if "chat done by" in line]
    assert len(ran) == len(texts), "a job was run twice"
    started = [line for line in local.lines if ": scaled up" in line]
    assert started == [f"chat: scaled up to {number}" for number in (1, 2, 3)]
    assert not alive(peak.values())


def test_a_job_that_waits_longer_than_the_queue_delay_has_another_worker():
    scale = Scale(QueueDelay(1), min_workers=1, max_workers=3, idle_timeout_s=60)
    with run_local(scale=scale, surfaces=("chat",), **ONE_BY_ONE) as local:
        wait_until(lambda: ready(local, "chat") == 1, 60)
        endless = local.run("chat", chat("x" * 10_000))  # 200 s
        wait_until(lambda: local.status("chat", endless)["status"] == "IN_PROGRESS")
        done = local.end("chat", local.run("chat", chat("Hi")), 60)
        assert done["status"] == "COMPLETED"
        assert done["workerId"] != local.status("chat", endless)["workerId"]
        assert done["delayTime"] >= 1000
        assert len(local.workers.pids()) == 2, "one late job is one worker more"
        with local.http() as http:
            http.post(f"/v2/chat/cancel/{endless}")


def test_from_no_worker_to_one_and_back_at_each_endpoint_by_itself():
    """The first job has a worker at once, of its endpoint alone."""
    scale = Scale(QueueDelay(60), idle_timeout_s=1)
    further = {"own": Served("embeddings", "Fake_Embeddings")}
    with run_local(scale=scale, surfaces=("chat", "embeddings"), further=further) as local:
        assert not local.workers.pids()
        ids = {name: local.run(name, EMBEDDINGS) for name in ("own", "all")}
        wait_until(lambda: len(local.workers.pids()) == 2)
        pids = list(local.workers.pids().values())
        starting = health(local, "own")["workers"]
        assert starting["initializing"] + starting["ready"] == 1
        done = {name: local.end(name, job_id, 60) for name, job_id in ids.items()}
        assert {one["status"] for one in done.values()} == {"COMPLETED"}
        assert done["own"]["workerId"] != done["all"]["workerId"]
        assert not any(health(local, "chat")["workers"].values())
        wait_until(lambda: not local.workers.pids())
        assert not any(health(local, "own")["workers"].values())
        assert not alive(pids)
        again = local.end("own", local.run("own", EMBEDDINGS), 60)
        assert again["status"] == "COMPLETED"


def test_a_worker_that_dies_at_its_start_is_not_started_again_at_once():
    """The second worker of an endpoint whose first one works; jobs go on there."""
    code = (
        "import os, sys\n"
        "if os.environ['RUNPOD_POD_ID'] != 'worker-1': print('born', flush=True), sys.exit(3)\n"
        "import asyncio, runpod\n"
        "async def handler(job): await asyncio.sleep(0.5); return 'done'\n"
        "runpod.serverless.start({'handler': handler})"
    )
    scale = Scale(RequestCount(1), min_workers=1, max_workers=2)
    with run_local(scale=scale, surfaces=("chat",), command=(sys.executable, "-c", code)) as local:
        wait_until(lambda: ready(local, "chat") == 1, 60)
        start = time.monotonic()
        ids = [local.run("chat", CHAT) for _ in range(3)]
        births = lambda: sum("born" in line for line in list(local.lines))  # noqa: E731
        wait_until(lambda: births() >= 3)
        assert time.monotonic() - start > 1.5, "three starts without two pauses of a second"
        ends = [local.end("chat", job_id, 30) for job_id in ids]
        assert [one["output"] for one in ends] == ["done"] * 3
        assert {one["workerId"] for one in ends} == {"worker-1"}
        assert sum("scaled up" in line for line in local.lines) == 2

"""``python -m local`` as a user runs it."""

from __future__ import annotations

import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.conftest import ROOT
from tests.support.bodies import EMBEDDINGS
from tests.support.running import KEY, environment, wait_until


class Command:
    """``python -m local``, and the lines it prints."""

    def __init__(self, *arguments: str, **env: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "local", *arguments], cwd=ROOT, env=environment(**env),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
        )  # fmt: skip
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with self.process.stdout as output:
            self.lines += iter(output.readline, "")

    def text(self) -> str:
        return "".join(self.lines)

    @property
    def url(self) -> str:
        return re.search(r"listening on (\S+)", self.text())[1]

    def wait(self, timeout_s: float = 30) -> int:
        status = self.process.wait(timeout_s)
        self._reader.join(10)
        return status


@contextmanager
def command(*arguments: str, **env: str) -> Iterator[Command]:
    one = Command(*arguments, **env)
    try:
        yield one
    finally:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGINT)
            try:
                one.wait(20)
            except subprocess.TimeoutExpired:
                one.process.kill()
                raise


def workers_of(pid: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return [int(one) for one in listed.stdout.split()]


def test_a_platform_that_was_killed_comes_back_with_its_jobs(tmp_path):
    arguments = ("--port", "0", "--surfaces", "chat", "--state", str(tmp_path / "jobs"))
    slow = {"input": {"messages": [{"role": "user", "content": "x" * 40}]}}
    with command(*arguments, FAKE_DELAY_S="0.05", CONCURRENCY="1") as first:
        wait_until(lambda: "ready: 1 worker" in first.text(), 60)
        with httpx.Client(base_url=first.url, headers=KEY) as http:
            ids = [http.post("/v2/chat/run", json=slow).json()["id"] for _ in range(3)]
            wait_until(lambda: http.get("/v2/chat/health").json()["jobs"]["inProgress"] == 1)
        first.process.kill()
        first.wait()
    with command(*arguments) as second:
        wait_until(lambda: "listening on" in second.text(), 60)
        with httpx.Client(base_url=second.url, headers=KEY, timeout=60) as http:

            def status(job_id: str) -> dict[str, object]:
                return http.get(f"/v2/chat/status/{job_id}").json()

            wait_until(lambda: all(status(one)["status"] == "COMPLETED" for one in ids), 60)
            assert status(ids[0])["output"]["choices"][0]["message"]["content"] == "x" * 40
        used = Command(*arguments)
        assert used.wait() == 1
        assert "is in use" in used.text()


def test_it_says_where_it_listens_then_ready_and_drains_on_ctrl_c():
    with command("--port", "0", "--workers", "2", FAKE_DELAY_S="0.02") as one:
        wait_until(lambda: re.search(r"^ready: 2 workers$", one.text(), re.MULTILINE), 60)
        assert one.text().index("listening on") < one.text().index("ready")
        assert "worker-1 | " in one.text()
        health = httpx.get(f"{one.url}/v2/chat/health", headers=KEY).json()
        assert health["workers"]["ready"] == 2
        slow = {"messages": [{"role": "user", "content": "x" * 100}]}
        answers: list[httpx.Response] = []

        def ask() -> None:
            answers.append(
                httpx.post(
                    f"{one.url}/v2/chat/runsync", json={"input": slow}, headers=KEY, timeout=60
                )
            )

        client = threading.Thread(target=ask)
        client.start()
        running = lambda: httpx.get(f"{one.url}/v2/chat/health", headers=KEY).json()["jobs"]  # noqa: E731
        wait_until(lambda: running()["inProgress"] == 1)
        time.sleep(0.3)
        children = workers_of(one.process.pid)
        assert len(children) == 2
        one.process.send_signal(signal.SIGINT)
        assert one.wait() == 0
        client.join()
        assert answers[0].json()["status"] == "COMPLETED"
        assert "stopping: 1 in flight" in one.text()
        assert "Traceback" not in one.text()
        assert "xxx" not in one.text(), "a prompt was logged"
        assert not any(os.path.exists(f"/proc/{pid}") for pid in children)


def test_scaled_it_starts_without_a_worker_and_has_one_when_a_job_comes():
    with command("--port", "0", "--scale", "requests:4", "--idle-timeout", "60") as one:
        wait_until(lambda: "ready: workers start with the jobs\n" in one.text(), 60)
        assert not workers_of(one.process.pid)
        done = httpx.post(
            f"{one.url}/v2/embeddings/runsync", json={"input": EMBEDDINGS}, headers=KEY, timeout=90
        ).json()
        assert done["status"] == "COMPLETED"
        [worker] = workers_of(one.process.pid)
        one.process.send_signal(signal.SIGINT)
        assert one.wait(30) == 0
    assert "embeddings: scaled up to 1\n" in one.text()
    assert "Traceback" not in one.text()
    assert not os.path.exists(f"/proc/{worker}")


def test_an_answer_does_not_wait_for_acknowledgements():
    """With Nagle's algorithm each answer on a kept connection takes 40 ms."""
    with command("--port", "0", "--no-worker") as one:
        wait_until(lambda: "-m handler" in one.text())
        with httpx.Client(base_url=one.url, headers=KEY) as http:
            times = []
            for _ in range(30):
                start = time.perf_counter()
                http.post("/v2/embeddings/run", json={"input": EMBEDDINGS})
                times.append(time.perf_counter() - start)
        assert statistics.median(times) < 0.03


def test_a_second_ctrl_c_ends_it_at_once():
    with command("--port", "0", FAKE_DELAY_S="0.05") as one:
        wait_until(lambda: "ready: 1 worker\n" in one.text(), 60)
        slow = {"messages": [{"role": "user", "content": "x" * 1000}]}
        httpx.post(f"{one.url}/v2/chat/run", json={"input": slow}, headers=KEY)
        in_flight = lambda: httpx.get(f"{one.url}/v2/chat/health", headers=KEY).json()["jobs"]  # noqa: E731
        wait_until(lambda: in_flight()["inProgress"] == 1)
        one.process.send_signal(signal.SIGINT)
        wait_until(lambda: "stopping" in one.text())
        one.process.send_signal(signal.SIGINT)
        assert one.wait(10) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a signal for it")
def test_no_worker_outlives_a_platform_that_is_killed():
    one = Command("--port", "0")
    wait_until(lambda: "ready: 1 worker\n" in one.text(), 60)
    [worker] = workers_of(one.process.pid)
    one.process.kill()
    one.wait()
    wait_until(lambda: not os.path.exists(f"/proc/{worker}"), 20)


def test_a_worker_that_is_stopped_does_not_hold_up_the_end():
    """SIGTERM waits in a process that is stopped until it goes on."""
    with command("--port", "0") as one:
        wait_until(lambda: "ready: 1 worker\n" in one.text(), 60)
        [worker] = workers_of(one.process.pid)
        os.kill(worker, signal.SIGSTOP)
        one.process.send_signal(signal.SIGTERM)
        assert one.wait(15) == 0


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        one = Command("--port", str(port))
        assert one.wait() == 1
    assert one.text() == f"local: port {port} is taken; choose another with --port\n"


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (("--surfaces", "poems"), {}, "local: --surfaces: 'poems' is not one of chat, images"),
        (
            (),
            {"MODEL_SLUG": "Nobody"},
            "before it took a job: quartet: MODEL_SLUG: this worker holds no Nobody; the nearest: ",
        ),
        (
            ("--surfaces", "chat", "--scale", "requests:1", "--min-workers", "2"),
            {"MODEL_SLUG": "Nobody"},
            "before it took a job: quartet: MODEL_SLUG: this worker holds no Nobody; the nearest: ",
        ),
    ],
)
def test_what_cannot_start_is_one_line(arguments, env, said):
    one = Command("--port", "0", *arguments, **env)
    assert one.wait(60) == 1
    assert said in one.lines[-1]
    assert one.lines[-1].startswith("local: ")
    assert "Traceback" not in one.text()


def test_a_model_that_is_missing_is_one_line_and_the_worker_lives(tmp_path):
    env = {"FAKE_ENGINES": "0", "QUARTET_CACHE": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9",
           "MODEL_SLUG": "BGE_Large", "MEMORY_BUDGET_GB": "80"}  # fmt: skip
    with command("--port", "0", "--surfaces", "embeddings", **env) as one:
        wait_until(lambda: "ready" in one.text(), 120)
        missing = [line for line in one.lines if "not preloaded" in line]
        assert len(missing) == 1
        done = httpx.post(
            f"{one.url}/v2/embeddings/runsync", json={"input": EMBEDDINGS}, headers=KEY, timeout=60
        ).json()
        assert done["status"] == "FAILED"
        assert "weights_unavailable" in done["error"]


@pytest.mark.parametrize("scale", [(), ("--scale", "requests:4")])
def test_an_endpoint_of_a_model_that_does_not_exist_is_named_before_anything_starts(scale):
    wrong = "small=embeddings:Tiny_BGE"
    one = Command("--port", "0", "--endpoint", wrong, *scale, FAKE_ENGINES="")
    assert one.wait() == 1
    [line] = one.lines
    assert line.startswith("local: --endpoint small: MODEL_SLUG: this worker holds no Tiny_BGE; ")
    assert "the nearest: Tiny_BGE_M3" in line


def test_a_stand_in_that_does_not_exist_is_named_too():
    one = Command("--port", "0", "--endpoint", "ben2=images:Ben2~Tiny_Ben", FAKE_ENGINES="")
    assert one.wait() == 1
    assert "SERVED_NAMES: this worker holds no Tiny_Ben; the nearest: Tiny_Ben2" in one.text()


@pytest.mark.parametrize("scale", [(), ("--scale", "requests:4")])
def test_a_small_model_stands_in_for_one_that_the_gateway_names(scale):
    stand_in = "bge=embeddings:Bge_M3_INT8~Tiny_BGE_M3"
    with command("--port", "0", "--endpoint", stand_in, *scale, FAKE_ENGINES="") as one:
        wait_until(lambda: "ready" in one.text(), 120)
        queued = httpx.post(
            f"{one.url}/v1/embeddings",
            json={"input": "Hello", "model": "Bge_M3_INT8"},
            headers=KEY,
        ).json()
        assert queued["endpoint_id"] == "bge"
        status = f"{one.url}/v2/bge/status/{queued['id']}"
        wait_until(lambda: httpx.get(status, headers=KEY).json()["status"] == "COMPLETED", 120)
        assert httpx.get(status, headers=KEY).json()["output"]["model"] == "Tiny_BGE_M3"


@contextmanager
def by_hand(one: Command) -> Iterator[subprocess.Popen[bytes]]:
    """The worker that the platform says how to start."""
    wait_until(lambda: "-m handler" in one.text())
    line = next(line for line in one.lines if "-m handler" in line)
    with subprocess.Popen(
        ["sh", "-c", f"exec env {line.strip()}"], cwd=ROOT,
        env=environment(FAKE_DELAY_S="0.02"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as worker:  # fmt: skip
        try:
            yield worker
        finally:
            worker.terminate()
            worker.wait(20)


def test_a_worker_by_hand_and_ctrl_c_waits_for_it_and_answers_who_waits():
    with command("--port", "0", "--no-worker", "--surfaces", "chat,embeddings") as one:
        with by_hand(one):
            wait_until(lambda: "ready: 1 worker\n" in one.text(), 60)
            done = httpx.post(
                f"{one.url}/v2/embeddings/runsync", json={"input": EMBEDDINGS}, headers=KEY
            ).json()
            assert done["status"] == "COMPLETED"
            assert done["workerId"].startswith("worker-by-hand-")
            answers: dict[str, httpx.Response] = {}

            def ask(name: str, letters: int) -> None:
                body = {"input": {"messages": [{"role": "user", "content": "x" * letters}]}}
                answers[name] = httpx.post(
                    f"{one.url}/v2/chat/runsync", json=body, headers=KEY, timeout=60
                )

            jobs = [("running", 350)] + [(f"waiting {n}", 100) for n in range(6)]
            clients = [threading.Thread(target=ask, args=job) for job in jobs]
            for client in clients:
                client.start()
                time.sleep(0.3)
            health = httpx.get(f"{one.url}/v2/chat/health", headers=KEY).json()["jobs"]
            assert health["inQueue"] >= 1
            one.process.send_signal(signal.SIGINT)
            assert one.wait(30) == 0
            for client in clients:
                client.join()
    states = {name: answer.json()["status"] for name, answer in answers.items()}
    assert states["running"] == "COMPLETED"
    assert set(states.values()) == {"COMPLETED", "CANCELLED"}
    assert "Traceback" not in one.text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "0"), "must be a number from 1"),
        (("--workers", "two"), "must be a number from 1"),
        (("--port", "99999"), "must be a number from 0 to 65535"),
        (("--surfaces", ","), "no surface is named"),
        (("--scale", "foo"), "--scale: 'foo' is neither delay:SECONDS nor requests:NUMBER"),
        (("--scale", "delay:0"), "--scale: 'delay:0': the delay must be more than 0 seconds"),
        (("--scale", "delay:4", "--idle-timeout", "0"), "must be a number from 1 to 3600"),
        (
            ("--scale", "delay:4", "--min-workers", "4"),
            "--min-workers 4 is more than --max-workers 3",
        ),
        (("--min-workers", "1"), "--min-workers, --max-workers and --idle-timeout go with --scale"),
        (("--scale", "delay:4", "--workers", "2"), "--workers and --no-worker go without it"),
    ],
)
def test_wrong_arguments_are_explained(arguments, said):
    one = Command(*arguments)
    assert one.wait() in {1, 2}
    assert said in one.lines[-1]
    assert "Traceback" not in one.text()


def test_a_reader_that_goes_away_ends_it():
    script = f"{sys.executable} -m local --port 0 | head -2"
    done = subprocess.run(
        ["bash", "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert "listening" in done.stdout
    assert "Traceback" not in done.stderr


def test_the_key_of_the_environment():
    with command("--port", "0", "--no-worker", LOCAL_API_KEY="right") as one:
        wait_until(lambda: "-m handler" in one.text())
        health = f"{one.url}/v2/all/health"
        assert httpx.get(health, headers=KEY).status_code == 401
        assert httpx.get(health, headers={"Authorization": "Bearer right"}).status_code == 200


def test_further_names_are_answered_and_others_are_not():
    with command("--no-worker", "--port", "0", "--name", "Laptop") as one:
        wait_until(lambda: "no worker is started" in one.text())
        for name, status in (("laptop:8000", 200), ("127.0.0.1", 200), ("evil.example", 421)):
            answer = httpx.get(f"{one.url}/metrics", headers={**KEY, "Host": name})
            assert answer.status_code == status, name
        assert "may ask" not in one.text()


def test_an_address_of_another_machine_is_named():
    with command("--no-worker", "--port", "0", "--host", "192.0.2.1") as one:
        assert one.wait() == 1
        assert one.text() == "local: --host 192.0.2.1 is not an address of this machine\n"

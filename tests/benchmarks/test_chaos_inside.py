"""The faults inside a worker's process: each does what it is called, and what follows is right."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from benchmarks.chaos.control import VARIABLE, Control
from benchmarks.chaos.device import Device
from benchmarks.chaos.faults import Injector
from benchmarks.chaos.plans import Fault
from benchmarks.chaos.processes import Life, PlatformProcess, WorkerSlot
from benchmarks.chaos.proxy import Link
from benchmarks.chaos.servers import BUCKET, Bucket
from handler.media.bucket import BucketConfig
from models import fake
from models.chat.request import Prompt, Sampling
from models.device.hardware import Device as Hardware
from models.embeddings.request import EmbedRequest
from models.errors import DeviceLost, OutOfMemory
from models.warm.batch import Batcher
from models.warm.loader import engine_class
from models.warm.steps import Steps
from tests.conftest import ROOT
from tests.support.bodies import CHAT, EMBEDDINGS, IMAGES


@pytest.fixture
def control(tmp_path) -> Control:
    return Control(tmp_path / "control.json")


def engine(surface: str, control: Control, worker: str = "worker-1") -> Any:
    """An engine without weights whose device the control file rules."""
    row = next(row for row in fake.rows() if row.surface == surface)
    loaded = engine_class(row).load(Path(), row, Hardware("cpu", 1, bf16=False))
    return Device(control, worker).holds(loaded)


async def embed(batcher: Batcher, engine: Any, text: str) -> Any:
    work = await engine.prepare(EmbedRequest((text,)))
    return await batcher.submit(work)


async def embed_all(control: Control, count: int) -> tuple[list[Any], int]:
    """Embed texts at once; returns the outcomes, and how many parts a run holds at most then."""
    embeddings = engine("embeddings", control)
    embeddings.budget, embeddings.packs = 1000, True
    batcher = Batcher(embeddings, 64)
    try:
        texts = [embed(batcher, embeddings, f"text {n}") for n in range(count)]
        return await asyncio.gather(*texts, return_exceptions=True), int(batcher.budget)
    finally:
        await batcher.close()


def test_where_memory_is_tight_a_run_is_divided_and_no_request_fails(control):
    control.write(memory="tight")
    outcomes, budget = asyncio.run(embed_all(control, 9))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    assert budget < 1000, "later runs are smaller"


def test_without_memory_each_request_fails_by_name_and_the_next_succeeds(control):
    control.write(memory="none")
    outcomes, _ = asyncio.run(embed_all(control, 5))
    assert {type(outcome) for outcome in outcomes} == {OutOfMemory}
    control.write(memory=None)
    outcomes, _ = asyncio.run(embed_all(control, 5))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]


def test_a_lost_device_is_the_loss_of_one_worker(control):
    control.write(device="worker-1")
    outcomes, _ = asyncio.run(embed_all(control, 3))
    assert {type(outcome) for outcome in outcomes} == {DeviceLost}
    control.write(device="worker-0")
    outcomes, _ = asyncio.run(embed_all(control, 3))
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)]


async def chat(steps: Steps, text: str, begun: Callable[[], None] = lambda: None) -> int:
    """Return the number of events of a conversation."""
    count = 0
    async for _ in steps.stream(Prompt(tuple(text.encode()), Sampling(max_tokens=500))):
        count += 1
        begun()
    return count


def test_a_conversation_that_has_begun_goes_on_though_the_next_has_no_memory(control):
    async def both() -> tuple[int, BaseException | int]:
        fake_chat = engine("chat", control)
        fake_chat.delay_s = 0.002
        steps, begun = Steps(fake_chat), asyncio.Event()
        try:
            first = asyncio.ensure_future(chat(steps, "x" * 200, begun.set))
            await begun.wait()
            control.write(memory="none")
            second = await asyncio.gather(chat(steps, "y"), return_exceptions=True)
            return await first, second[0]
        finally:
            await steps.close()

    first, second = asyncio.run(both())
    assert first > 200
    assert isinstance(second, OutOfMemory)


def run_job(body: dict[str, Any], control: Control, **env: str) -> tuple[int, dict[str, Any]]:
    """Run one job in the worker's process; returns the exit status and the answer."""
    job = json.dumps({"input": body})
    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos.worker", "--test_input", job],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin", "FAKE_ENGINES": "1", "RUNPOD_POD_ID": "worker-1",
            VARIABLE: str(control.path), **env,
        },
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return ran.returncode, json.loads(ran.stdout)


@pytest.mark.parametrize("jump_s", [7200.0, -7200.0])
def test_a_clock_jumps_and_the_answer_is_of_its_time(control, jump_s):
    control.write(clock_s=jump_s)
    status, answer = run_job(CHAT, control)
    assert status == 0
    assert answer["created"] == pytest.approx(time.time() + jump_s, abs=60)


@pytest.mark.parametrize(("ahead_s", "status"), [
    (600, 200), (-1800, 200), (7200, 403), (-7200, 403),
])  # fmt: skip
def test_the_store_of_a_run_refuses_what_is_signed_at_another_time(ahead_s, status):
    store = Bucket()
    try:
        config = BucketConfig(
            endpoint_url=f"http://127.0.0.1:{store.port}", access_key_id="key-id",
            secret_access_key="hush", name=BUCKET,
        )  # fmt: skip
        url = f"{config.endpoint_url}/{BUCKET}/key"
        signed = config.signature.at(time.time() + ahead_s, "PUT", url, {}, 3600)
        assert httpx.put(signed, content=b"x").status_code == status
    finally:
        store.stop()


@pytest.mark.parametrize("jump_s", [7200.0, -7200.0])
def test_a_picture_is_stored_though_the_clock_of_its_worker_is_wrong(control, jump_s):
    store = Bucket()
    try:
        control.write(clock_s=jump_s)
        keys = {"BUCKET_ACCESS_KEY_ID": "key-id", "BUCKET_SECRET_ACCESS_KEY": "hush"}
        url = f"http://127.0.0.1:{store.port}"
        status, answer = run_job(
            IMAGES, control, BUCKET_ENDPOINT_URL=url, BUCKET_NAME=BUCKET, **keys
        )
        assert status == 0
        assert httpx.get(answer["data"][0]["url"]).status_code == 200
    finally:
        store.stop()


def test_a_name_that_does_not_resolve_is_a_host_that_is_not_reached(control):
    body = {"audioUrl": "http://localhost:9/a.wav"}
    control.write(names={"9": "fail"})
    started = time.monotonic()
    status, answer = run_job(body, control, MEDIA_PRIVATE_HOSTS="localhost", SURFACE="transcribe")
    assert (status, answer["error"]["code"]) == (1, "media_unreachable")
    assert time.monotonic() - started < 30


def test_names_fail_or_are_late_by_their_port_and_addresses_are_not_looked_up(control):
    """In a process of its own, since the function of ``socket`` is changed."""
    code = (
        "import json, pathlib, socket, sys, time\n"
        "from benchmarks.chaos import control, names\n"
        "names.resolve(control.Control(pathlib.Path(sys.argv[1])))\n"
        "def look_up(host, port):\n"
        "    start = time.monotonic()\n"
        "    try:\n"
        "        socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)\n"
        "    except socket.gaierror as error:\n"
        "        return error.errno == socket.EAI_AGAIN\n"
        "    return time.monotonic() - start\n"
        "print(json.dumps([look_up('localhost', 7), look_up('localhost', 8),"
        "look_up('localhost', 9), look_up('127.0.0.1', 7), look_up('::1', 8)]))"
    )
    control.write(names={"7": "fail", "8": "late"})
    ran = subprocess.run(
        [sys.executable, "-c", code, str(control.path)], cwd=ROOT, capture_output=True, check=True
    )
    failed, late_s, *others_s = json.loads(ran.stdout)
    assert failed is True
    assert late_s > 0.4
    assert max(others_s) < 0.3


def test_every_reader_of_the_wall_clock_sees_the_jump_and_none_of_the_monotonic_one(control):
    """In a process of its own, since the classes of ``datetime`` are changed."""
    code = (
        "import json, pathlib, sys, time, datetime as d\n"
        "from benchmarks.chaos import clock, control\n"
        "clock.shift(control.Control(pathlib.Path(sys.argv[1])))\n"
        "zone = d.timezone.utc\n"
        "print(json.dumps([time.time(), time.time_ns() / 1e9, d.datetime.now(zone).timestamp(),"
        "d.datetime.now().timestamp(), d.datetime.utcnow().replace(tzinfo=zone).timestamp(),"
        "time.mktime(time.localtime()), time.clock_gettime(time.CLOCK_REALTIME),"
        "time.mktime(time.strptime(time.ctime())), time.monotonic(), time.gmtime(0).tm_year]))"
    )
    control.write(clock_s=-86400.0)
    ran = subprocess.run(
        [sys.executable, "-c", code, str(control.path)], cwd=ROOT, capture_output=True, check=True
    )
    *walls, monotonic, epoch = json.loads(ran.stdout)
    assert walls == [pytest.approx(time.time() - 86400, abs=30)] * len(walls)
    assert monotonic == pytest.approx(time.monotonic(), abs=30)
    assert epoch == 1970


@pytest.mark.parametrize(("entries", "body", "code"), [
    ({"memory": "none"}, EMBEDDINGS, "out_of_memory"),
    ({"memory": "none"}, CHAT, "out_of_memory"),
    ({"device": "worker-1"}, CHAT, "device_lost"),
    ({"memory": "tight", "device": "another"}, EMBEDDINGS, None),
])  # fmt: skip
def test_the_worker_of_a_run_has_the_faults_of_its_file(control, entries, body, code):
    control.write(**entries)
    status, answer = run_job(body, control)
    assert answer.get("error", {}).get("code") == code
    assert status == (code is not None)


class Process:
    """A worker's process, as the injector sees it: it ends when its device is lost."""

    def __init__(self, control: Control, *, ends: bool) -> None:
        self._control = control
        self._ends = ends

    def poll(self) -> int | None:
        return 1 if self._ends and "device" in self._control.read() else None


async def entries_during(
    injector: Injector, schedule: list[Fault], controls: list[Control]
) -> list[list[dict[str, Any]]]:
    """The control files in the middle of a schedule, after it, and when one was cancelled."""
    running = asyncio.ensure_future(injector.carry_out(schedule))
    await asyncio.sleep(0.15)
    seen = [[dict(control.read()) for control in controls]]
    await running
    seen.append([dict(control.read()) for control in controls])
    again = asyncio.ensure_future(injector.carry_out(schedule))
    await asyncio.sleep(0.15)
    again.cancel()
    await asyncio.gather(again, return_exceptions=True)
    return [*seen, [dict(control.read()) for control in controls]]


def test_the_faults_of_a_schedule_are_in_the_files_while_they_last(tmp_path):
    links = {name: Link(name, 1, 1) for name in ("bucket", "worker 0")}
    links["bucket"].port, links["worker 0"].port = 7, 8
    slots = [WorkerSlot(n, links["worker 0"], tmp_path, {}, "token") for n in range(2)]
    platform = PlatformProcess(tmp_path / "platform.log")
    injector = Injector(links, {slot.name: slot for slot in slots}, platform, time.monotonic)
    schedule = [
        Fault(0, "tight", "worker 0", 0.4), Fault(0, "clock", "worker 1", 0.4, -60.0),
        Fault(0, "clock", "platform", 0.4, 90.0), Fault(0, "dns", "bucket", 0.4),
        Fault(0, "dns late", "worker 0", 0.4),
    ]  # fmt: skip
    controls = [*(slot.control for slot in slots), platform.control]
    during, after, cancelled = asyncio.run(entries_during(injector, schedule, controls))
    assert during == [
        {"memory": "tight", "names": {"7": "fail", "8": "late"}},
        {"clock_s": -60.0, "names": {"7": "fail"}},
        {"clock_s": 90.0},
    ]
    assert not any(value for entries in (*after, *cancelled) for value in entries.values())
    assert len(injector.spans) == 2 * len(schedule)


@pytest.mark.parametrize("ends", [True, False])
def test_a_worker_that_runs_on_without_its_device_is_left_over(tmp_path, ends):
    slot = WorkerSlot(0, Link("worker 0", 1, 1), tmp_path, {}, "token")
    process = cast("Any", Process(slot.control, ends=ends))
    slot.lives.append(Life(process, "chaos-0-0", 1, tmp_path))
    ticks = itertools.count(step=30)
    platform = PlatformProcess(tmp_path / "platform.log")
    injector = Injector({}, {slot.name: slot}, platform, lambda: next(ticks))
    asyncio.run(injector.carry_out([Fault(0, "device", "worker 0")]))
    assert injector.unended == ([] if ends else ["chaos-0-0 runs on without its device"])
    assert slot.control.read() == {}

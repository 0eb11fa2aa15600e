"""The harness of faults: its checker catches what it is there for, its schedule is a seed's."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from benchmarks.chaos import plans
from benchmarks.chaos.answers import normal, same
from benchmarks.chaos.checker import check
from benchmarks.chaos.history import Event, History, Record, Slot, Span
from benchmarks.chaos.plans import Fault, Plan
from benchmarks.chaos.proxy import Link
from benchmarks.chaos.reading import Reading
from benchmarks.chaos.servers import SECRET, read_webhook
from local.webhooks import sign
from tests.conftest import ROOT

ANSWERS = {
    f"chat {n}": [{"choices": [{"message": {"content": f"answer {n}"}}], "usage": {"total": n}}]
    for n in range(3)
}


def history(number: int = 0, **fields: object) -> History:
    """A job that was streamed, ended as it should and was told of."""
    plan = Plan(number, "chat", f"chat {number}", "stream", webhook=True, **fields)
    pieces = ["answer", f" {number}"]
    hook = {"status": "COMPLETED", "gateway": True, "signed": True, "delivery": f"d{number}"}
    return History(plan, [
        Event(0.0, "accepted", f"job-{number}"),
        Event(0.1, "status", "IN_PROGRESS"),
        *(
            Event(0.2 + at / 10, "event", {"sequence": at, "choices": [{"delta": {"content": piece}}]})
            for at, piece in enumerate(pieces)
        ),
        Event(0.5, "ended", ended(ANSWERS[f"chat {number}"][0])),
        Event(0.6, "webhook", hook),
    ])  # fmt: skip


def ended(output: object, status: str = "COMPLETED", error: str | None = None) -> dict[str, object]:
    return {"status": status, "output": output, "error": error}


def record(*histories: History, **fields: object) -> Record:
    return Record(histories, ANSWERS, **fields)


def rules(made: Record) -> set[str]:
    return {violation.rule for violation in check(made)}


def without(job: History, *kinds: str) -> History:
    return replace(job, events=[event for event in job.events if event.kind not in kinds])


def with_event(job: History, kind: str, value: object, at_s: float = 0.7) -> History:
    return replace(job, events=[*job.events, Event(at_s, kind, value)])


def test_a_run_without_a_fault_has_no_violation():
    assert check(record(*(history(n) for n in range(3)), slots=[Slot(1.0, 1.3)])) == []


def test_a_lost_result_is_caught():
    assert "one ending" in rules(record(without(history(), "ended", "webhook")))
    assert "one ending" in rules(record(with_event(without(history(), "ended"), "left", "late")))


def test_a_job_in_the_queue_at_the_end_is_caught():
    assert rules(record(history(), open_jobs={"chat": 1, "images": 0})) == {"open"}


def test_a_doubled_result_is_caught():
    assert "one ending" in rules(record(with_event(history(), "status", "IN_PROGRESS")))
    failed = ended(None, "FAILED", '{"code": "internal_error"}')
    assert "one ending" in rules(record(with_event(history(), "ended", failed)))
    again = {"status": "COMPLETED", "gateway": True, "signed": True, "delivery": "another"}
    assert rules(record(with_event(history(), "webhook", again))) == {"webhook"}


def test_a_delivery_that_is_repeated_is_no_second_ending():
    same = history().of("webhook")[0].value
    assert check(record(with_event(history(), "webhook", same))) == []


def test_a_doubled_event_is_caught():
    for event in history().of("event"):
        job = history()
        job.events.insert(job.events.index(event) + 1, event)
        assert rules(record(job)) == {"its stream"}


def test_a_stream_may_begin_anew_if_it_says_so():
    job = history()
    mark = Event(0.25, "event", {"type": "stream.restarted", "choices": []})
    job.events[3:3] = [mark, job.of("event")[0]]
    assert check(record(job)) == []


def of_runs(*runs: tuple[str, int]) -> History:
    """A stream of more than one run, without marks; it ends as it should."""
    job = without(history(), "event")
    job.events[2:2] = [
        Event(0.2, "event", {"id": run, "sequence": number, "choices": []}) for run, number in runs
    ]
    return job


def test_a_beginning_may_be_lost_on_its_way_to_the_client_if_the_id_is_another():
    spans = [Span(Fault(0, "half", "client", 1), 0.0, 1.0)]
    anew = of_runs(("a", 0), ("a", 1), ("a", 2), ("b", 1), ("b", 2))
    assert check(record(anew, spans=spans)) == []
    assert rules(record(anew)) == {"its stream"}
    again = of_runs(("a", 0), ("a", 1), ("a", 2), ("a", 1), ("a", 2))
    assert rules(record(again, spans=spans)) == {"its stream"}


def test_a_platform_that_comes_back_may_hand_out_the_same_events_after_a_mark():
    mark = {"type": "stream.restarted", "choices": []}
    assert broken(("a", 0), ("a", 1), mark, ("a", 0), ("a", 1)) == []
    assert broken(("a", 0), mark, ("b", 0), ("b", 1)) == []
    assert len(broken(("a", 0), mark, ("b", 0), ("a", 1))) == 1
    assert len(broken(("a", 0), mark, ("b", 0), mark, ("a", 0))) == 1


def broken(*events: tuple[str, int] | dict[str, Any]) -> list[str]:
    """What must not happen in a stream whose events cannot be lost."""
    reading = Reading()
    for event in events:
        content = event if isinstance(event, dict) else {"id": event[0], "sequence": event[1]}
        reading.read(content, lost=False)
    return reading.broken


def test_two_runs_that_share_a_stream_are_caught():
    spans = [Span(Fault(0, "half", "client", 1), 0.0, 1.0)]
    mixed = of_runs(("a", 0), ("b", 1), ("a", 2), ("b", 3))
    assert rules(record(mixed, spans=spans)) == {"its stream"}
    assert rules(record(of_runs(("a", 0), ("b", 1), ("b", 2)))) == {"its stream"}


def test_a_swapped_result_is_caught():
    job = without(history(0), "ended")
    [violation] = check(record(with_event(job, "ended", ended(ANSWERS["chat 1"][0]))))
    assert violation.rule == "its output"
    assert "the answer of chat 1" in violation.seen


def test_a_stream_of_another_job_is_caught():
    job = without(history(0), "event")
    job.events[2:2] = history(1).of("event")
    assert rules(record(job)) == {"its stream"}


def test_a_gap_in_a_stream_needs_a_fault():
    job = history()
    job.events.remove(job.of("event")[-1])
    late = {"sequence": 5, "choices": []}
    job.events.insert(4, Event(0.4, "event", late))
    assert rules(record(job)) == {"its stream"}
    spans = [Span(Fault(0, "lost", "client", 1), 0.0, 1.0)]
    assert check(record(job, spans=spans)) == []


def test_a_leaked_slot_is_caught():
    for slot in (Slot(1.0, None), Slot(1.0, 2.5)):
        assert rules(record(history(), slots=[slot])) == {"slot"}


def test_an_unsigned_webhook_is_caught():
    job = without(history(), "webhook")
    hook = {"status": "COMPLETED", "gateway": True, "signed": False, "delivery": "d"}
    assert rules(record(with_event(job, "webhook", hook))) == {"webhook"}
    assert rules(record(job)) == {"webhook"}, "none came"


def test_neither_a_job_nor_a_webhook_may_be_lost_with_the_platform():
    spans = [Span(Fault(0.3, "crash", "platform", 1), 0.3, 1.3)]
    assert rules(record(without(history(), "webhook"), spans=spans)) == {"webhook"}
    gone = with_event(without(history(), "ended", "webhook"), "gone", None)
    assert rules(record(gone, spans=spans)) == {"one ending"}


def test_a_job_fails_for_a_reason_only():
    error = '{"code": "storage_failed"}'
    job = with_event(
        without(history(), "ended", "webhook", "event"), "ended", ended(None, "FAILED", error)
    )
    hook = {"status": "FAILED", "gateway": True, "signed": True, "delivery": "d"}
    job = with_event(job, "webhook", hook, 0.8)
    assert rules(record(job)) == {"its reason"}
    spans = [Span(Fault(0, "503", "bucket", 1), 0.0, 1.0)]
    assert check(record(job, spans=spans)) == []


@pytest.mark.parametrize(("kind", "code", "allowed"), [
    ("memory", "out_of_memory", True), ("tight", "out_of_memory", False),
    ("device", "device_lost", True), ("memory", "device_lost", False),
    ("disk", "disk_full", True), ("clock", "storage_failed", False),
    ("dns late", "media_unreachable", False), ("reorder", "media_unreachable", False),
    ("dns", "media_unreachable", True), ("partition", "media_timeout", True),
])  # fmt: skip
def test_what_a_job_fails_with_is_what_the_fault_is(kind, code, allowed):
    job = without(history(), "ended", "webhook", "event")
    job = with_event(job, "ended", ended(None, "FAILED", json.dumps({"code": code})))
    job = replace(job, plan=replace(job.plan, webhook=False))
    target = "media" if code.startswith("media") else "worker 1"
    spans = [Span(Fault(0, kind, target, 1), 0.0, 1.0)]
    assert (rules(record(job, spans=spans)) == set()) is allowed


@pytest.mark.parametrize("kind", ["tight", "clock", "dns late", "reorder"])
def test_some_faults_are_no_reason_for_a_request_to_fail(kind):
    job = with_event(history(), "broken", "503")
    for target in ("client", "platform", "worker 1"):
        spans = [Span(Fault(0, kind, target, 1), 0.0, 1.0)]
        assert rules(record(job, spans=spans)) == {"served"}


def test_nobody_cancels_but_the_client():
    job = with_event(
        without(history(), "ended", "webhook", "event"), "ended", ended(None, "CANCELLED")
    )
    job = replace(job, plan=replace(job.plan, webhook=False))
    assert rules(record(job)) == {"its reason"}
    assert check(record(with_event(job, "cancel", "CANCELLED"))) == []


def test_a_request_fails_with_a_fault_only():
    job = with_event(history(), "broken", "503")
    assert rules(record(job)) == {"served"}
    spans = [Span(Fault(0, "503", "client", 1), 0.0, 1.0)]
    assert check(record(job, spans=spans)) == []


def test_a_picture_may_differ_by_rounding_and_no_further():
    """In a run with other pictures, a value of a picture may be one more or less."""

    def answer(red: int) -> object:
        picture = Image.new("RGB", (64, 48), (200, 10, 10))
        picture.putpixel((5, 5), (red, 10, 10))
        picture.paste((red, 10, 10), (20, 20, 30, 30) if abs(red - 200) > 1 else (0, 0, 0, 0))
        with io.BytesIO() as file:
            picture.save(file, "PNG")
            return normal({"data": [{"b64_json": base64.b64encode(file.getvalue()).decode()}]})

    assert same(answer(200), answer(201))
    assert not same(answer(200), answer(150))


def test_what_processes_leave_is_a_violation():
    assert rules(record(history(), leftovers=["worker 1 has a file"])) == {"leftover"}


def test_the_signature_of_a_webhook_is_computed_anew():
    body = {"delivery_id": "d", "data": {"job_request_id": "j", "status": "COMPLETED"}}
    content = json.dumps(body).encode()
    headers = {"X-DeAPI-Timestamp": "7", "X-DeAPI-Signature": sign(SECRET, 7, content)}
    assert read_webhook(content, headers)[1]["signed"]
    assert not read_webhook(content + b" ", headers)[1]["signed"]


def test_a_schedule_is_a_function_of_its_seed(tmp_path):
    first = plans.schedule(7, 120, 4)
    assert first == plans.schedule(7, 120, 4) != plans.schedule(8, 120, 4)
    assert plans.plans(7, 50) == plans.plans(7, 50) != plans.plans(8, 50)
    kinds = {fault.kind for seed in range(20) for fault in plans.schedule(seed, 300, 4)}
    groups = (
        plans.PROCESS_FAULTS, plans.INSIDE_FAULTS, plans.NETWORK_FAULTS, plans.LINK_FAULTS,
        plans.PLATFORM_FAULTS,
    )  # fmt: skip
    assert kinds == set().union(*groups)
    plans.write(tmp_path / "faults.json", first)
    assert plans.read(tmp_path / "faults.json") == first


@pytest.mark.parametrize(("mode", "seen"), [
    ("pass", b"HTTP/1.1 200 OK"), ("429", b"HTTP/1.1 429 "), ("503", b"HTTP/1.1 503 "),
    ("cut", None), ("lost", None), ("slow", b"HTTP/1.1 200 OK"), ("reorder", b"HTTP/1.1 200 OK"),
])  # fmt: skip
def test_the_proxy_does_what_its_mode_says(mode, seen):
    arrived = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def ask() -> bytes | None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        link = Link("client", server.sockets[0].getsockname()[1], seed=1)
        await link.start()
        link.set_mode(mode)
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        try:
            writer.write(b"GET / HTTP/1.1\r\n\r\n")
            return await reader.read(15) or None
        except ConnectionError:
            return None
        finally:
            writer.close()
            await link.close()
            server.close()
            await server.wait_closed()

    answered = asyncio.run(asyncio.wait_for(ask(), 10))
    assert answered is None if seen is None else answered.startswith(seen)
    assert bool(arrived) == (mode in {"pass", "lost", "slow", "reorder"})


def test_a_later_connections_request_arrives_before_an_earlier_ones():
    arrived: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(100):
            arrived.append(piece)
            writer.write(b"seen")
            await writer.drain()
        writer.close()

    async def send() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        link = Link("worker 0", server.sockets[0].getsockname()[1], seed=1)
        await link.start()
        link.set_mode("reorder")
        connections = [await asyncio.open_connection("127.0.0.1", link.port) for _ in range(8)]
        for part in (b"a", b"b"):
            for number, (_, writer) in enumerate(connections):
                writer.write(part + str(number).encode())
                await asyncio.sleep(0.01)
            assert [await reader.read(4) for reader, _ in connections] == [b"seen"] * 8
        for _, writer in connections:
            writer.close()
        await link.close()
        server.close()
        await server.wait_closed()
        assert link.happened["reorder"] > 4

    asyncio.run(asyncio.wait_for(send(), 10))
    for number in range(8):
        assert [piece for piece in arrived if piece.endswith(b"%d" % number)] == [
            b"a%d" % number, b"b%d" % number,
        ], "a connection keeps its order"  # fmt: skip
    assert arrived[:8] != sorted(arrived[:8])


def test_a_partition_is_silence_and_what_was_sent_arrives_later():
    """In a process of its own, whose network is its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.cut_off"],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    if ran.stdout.strip() == "not allowed":
        pytest.skip("a network of its own is not allowed here, or iptables is missing")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["silent", "arrived"]


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_promise_is_broken(seed, tmp_path):
    command = ["-m", "benchmarks.chaos", "--seed", str(seed), "--jobs", "400", "--seconds", "60"]
    ran = subprocess.run(
        [sys.executable, *command, "--logs", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]

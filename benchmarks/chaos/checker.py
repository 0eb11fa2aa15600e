"""Compares the record of a run with the contract.

The rules are those of a client: it knows the job's answers and webhooks, and when there were
faults. They do not use the platform's code.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.chaos.answers import same, text_of
from benchmarks.chaos.history import Event, History, Record, Violation
from benchmarks.chaos.reading import Reading

FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"})
SLOT_S = 1.0
_GRACE_S = 45.0  # how long after a fault a job may still feel it: retries, and a lost worker
_LOST_TRIES = 3  # a job fails when this many workers were lost on it
_WORKER_FAULTS = frozenset(
    {"kill", "stop", "term", "device", "dns", "partition", "cut", "stall", "slow", "half", "lost"}
)
_TARGETS = {  # what a job may fail with, and of what there must have been a fault
    "storage_failed": "bucket",
    "media_unreachable": "media",
    "media_timeout": "media",
    "media_refused": "media",
    "media_undecodable": "media",
}
_KINDS = {"disk_full": "disk", "out_of_memory": "memory", "device_lost": "device"}
_UNNOTICED = frozenset({"tight", "clock", "dns late", "reorder"})  # no client may notice them

Rule = Callable[[Record, History], Iterator[str]]


def check(record: Record) -> list[Violation]:
    """Return all violations of a run."""
    found = [
        Violation(rule, history.plan.number, seen)
        for history in record.histories
        for rule, broken in _RULES.items()
        for seen in broken(record, history)
    ]
    for slot in record.slots:
        if slot.free_s is None or slot.free_s - slot.cancelled_s > SLOT_S:
            took = "never" if slot.free_s is None else f"{slot.free_s - slot.cancelled_s:.2f} s"
            found.append(Violation("slot", None, f"cancelled jobs freed their slots: {took}"))
    for endpoint, count in record.open_jobs.items():
        if count:
            found.append(Violation("open", None, f"{endpoint} has {count} jobs at the end"))
    found += [Violation("leftover", None, left) for left in record.leftovers]
    return found


def _has_one_ending(record: Record, history: History) -> Iterator[str]:
    """Each job ends, once; only a retry begins anew."""
    ended: Any = None
    for event in history.of("status", "ended", "retry"):
        if event.kind == "retry":
            ended = None
            continue
        status = event.value["status"] if event.kind == "ended" else event.value
        if ended is not None and status != ended:
            yield f"{status} after {ended}"
        ended = status if status in FINAL else None
    if ended is None and not history.of("text"):
        yield f"it did not end: {_last(history)}"


def _ends_as_it_may(record: Record, history: History) -> Iterator[str]:
    """A job fails only for a reason, and is cancelled only by its client."""
    for event in history.of("ended"):
        status, error = event.value["status"], event.value.get("error")
        if status == "TIMED_OUT":
            yield "it timed out"
        if status == "CANCELLED" and not history.of("cancel"):
            yield "it was cancelled, and not by its client"
        if status == "FAILED" and not _may_fail(record, history, event):
            yield f"it failed with {error}"


def _has_its_output(record: Record, history: History) -> Iterator[str]:
    """A completed job has the answer that it has without faults, and no other job's."""
    expected = record.expected[history.plan.body]
    for event in history.of("ended"):
        if event.value["status"] != "COMPLETED":
            continue
        output = event.value.get("output")
        if not _is_one_of(output, expected):
            others = [name for name, known in record.expected.items() if _is_one_of(output, known)]
            yield f"it has the answer of {others[0]}" if others else f"it answers {output!s:.200}"
    for event in history.of("text"):
        if event.value not in map(text_of, expected):
            yield f"its stream is {event.value[-80:]!r}"


def _is_one_of(output: Any, answers: Sequence[Any]) -> bool:
    return any(same(output, answer) for answer in answers)


def _has_a_whole_stream(record: Record, history: History) -> Iterator[str]:
    """No event comes twice; a stream without a gap is the text of the answer."""
    reading = Reading()
    for event in history.of("event"):
        reading.read(event.value, lost=_felt(record, history, {"client"}))
    yield from reading.broken
    text = reading.text
    ends = history.of("ended")
    completed = bool(ends) and ends[-1].value["status"] == "COMPLETED"
    answers = [text_of(answer) or "" for answer in record.expected[history.plan.body]]
    # The end of a stream may be lost on its way: then the answer counts.
    cut = any(answer.startswith(text) for answer in answers) and _felt(record, history, {"client"})
    if completed and reading.last >= 0 and reading.whole and text not in answers and not cut:
        yield f"its stream ends with {text[-60:]!r}"
    if not reading.whole and not _felt(record, history, {"client"} | _workers(record)):
        yield "its stream has a gap, and there was no fault"


def _tells_of_its_end(record: Record, history: History) -> Iterator[str]:
    """A webhook comes at least once, signed, and says what the status says."""
    hooks = history.of("webhook")
    for hook in hooks:
        if hook.value["gateway"] and not hook.value["signed"]:
            yield "a webhook is not signed"
    yield from _told_twice(history, hooks)
    ends = [event.value["status"] for event in history.of("ended")]
    final = [hook.value["status"] for hook in hooks if hook.value["status"] in FINAL]
    if not history.plan.webhook or not ends:
        return
    if ends[-1] not in final:
        yield f"it is {ends[-1]}, and no webhook says so"
    if set(final) - set(ends) and not history.of("retry"):
        yield f"webhooks say {final}, and the status says {ends[-1]}"


def _told_twice(history: History, hooks: list[Event]) -> Iterator[str]:
    """Each attempt of a delivery has the same id, so two ids are two endings."""
    ends = {hook.value["delivery"] for hook in hooks if hook.value["gateway"]
            and hook.value["status"] in FINAL}  # fmt: skip
    if len(ends) > 1 + len(history.of("retry")):
        yield f"{len(ends)} webhooks say that it ended"


def _is_served_without_faults(record: Record, history: History) -> Iterator[str]:
    """A client's request fails only if there was a fault on its way."""
    for event in history.of("broken", "left"):
        if not _felt(record, history, {"client", "platform"} | _workers(record)):
            yield f"{event.kind}: {event.value}"
            return


_RULES: dict[str, Rule] = {
    "one ending": _has_one_ending,
    "its reason": _ends_as_it_may,
    "its output": _has_its_output,
    "its stream": _has_a_whole_stream,
    "webhook": _tells_of_its_end,
    "served": _is_served_without_faults,
}


def _may_fail(record: Record, history: History, event: Event) -> bool:
    error = event.value.get("error")
    try:
        code = json.loads(error)["code"]
    except (TypeError, ValueError, KeyError):
        return _lost_workers(record, history) >= _LOST_TRIES and "worker" in str(error)
    if code in _KINDS:
        return any(_touches(history, span.begin_s, span.end_s) for span in record.spans
                   if span.fault.kind == _KINDS[code])  # fmt: skip
    return code in _TARGETS and _felt(record, history, {_TARGETS[code]})


def _lost_workers(record: Record, history: History) -> int:
    return sum(
        span.fault.kind in _WORKER_FAULTS and span.fault.target.startswith("worker")
        for span in record.spans
        if _touches(history, span.begin_s, span.end_s)
    )


def _felt(record: Record, history: History, targets: set[str]) -> bool:
    """Whether a fault of a target touches the life of a job."""
    return any(
        span.fault.target in targets and _touches(history, span.begin_s, span.end_s)
        for span in record.spans
        if span.fault.kind not in _UNNOTICED
    )


def _touches(history: History, begin_s: float, end_s: float) -> bool:
    return begin_s <= history.end_s and history.begin_s <= end_s + _GRACE_S


def _workers(record: Record) -> set[str]:
    return {span.fault.target for span in record.spans if span.fault.target.startswith("worker")}


def _last(history: History) -> str:
    kept = [f"{event.kind} {str(event.value)[:60]}" for event in history.events[-2:]]
    return ", ".join(kept) or "no event"

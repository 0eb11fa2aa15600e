"""The record of a run. All times are seconds since the start of the load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.chaos.plans import Fault, Plan


@dataclass(frozen=True)
class Event:
    """An event of a job, as its client or the receiver of webhooks saw it.

    Attributes:
        at_s: when.
        kind: ``accepted`` (value: the job's id), ``status`` (the status), ``ended`` (a mapping
            with ``status``, ``output``, ``error``), ``event`` (an event of the stream),
            ``text`` (all of a stream of OpenAI's), ``cancel`` and ``retry`` (the status that
            the platform answered), ``webhook`` (a mapping with ``status``, ``gateway``,
            ``signed``), ``broken`` (a request of the client failed: why), ``gone`` (the platform
            does not know the job), ``left`` (the client gave up).
        value: what belongs to it.
    """

    at_s: float
    kind: str
    value: Any = None


@dataclass
class History:
    """A job, and what happened to it."""

    plan: Plan
    events: list[Event] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Event]:
        """Return the events of some kinds, in their order."""
        return [event for event in self.events if event.kind in kinds]

    @property
    def begin_s(self) -> float:
        """The time of the first event."""
        return self.events[0].at_s if self.events else 0.0

    @property
    def end_s(self) -> float:
        """The time of the last event."""
        return self.events[-1].at_s if self.events else 0.0


@dataclass(frozen=True)
class Span:
    """A fault that was carried out, and when it was over."""

    fault: Fault
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Slot:
    """A measurement of cancelled jobs: when they were cancelled, and when no worker had one."""

    cancelled_s: float
    free_s: float | None


@dataclass
class Record:
    """A run.

    Attributes:
        histories: its jobs.
        expected: the answers to each body of the gallery, from runs without faults: in another
            batch a model may choose another of two tokens that are equally likely.
        spans: the faults.
        slots: the measurements of cancelled jobs.
        open_jobs: how many jobs each endpoint had at the end, waiting or running.
        leftovers: what processes held at the end, in words.
    """

    histories: Sequence[History]
    expected: Mapping[str, Sequence[Any]]
    spans: Sequence[Span] = ()
    slots: Sequence[Slot] = ()
    open_jobs: Mapping[str, int] = field(default_factory=dict)
    leftovers: Sequence[str] = ()


@dataclass(frozen=True)
class Violation:
    """A broken promise: its rule, the job (None = of no single job), and what was seen."""

    rule: str
    job: int | None
    seen: str

"""The jobs of a run and the schedule of its faults: functions of a seed, kept as JSON."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.chaos.gallery import BODIES, SURFACES

LINKS = ("client", "bucket", "media")
PROCESS_FAULTS = ("kill", "stop", "term", "disk")
INSIDE_FAULTS = ("tight", "memory", "device", "clock")  # in a process, which runs on at first
NETWORK_FAULTS = ("dns", "dns late", "partition")
LINK_FAULTS = ("cut", "stall", "slow", "half", "lost", "reorder", "429", "503")
PLATFORM_FAULTS = ("crash", "restart")
_WAYS = ("run", "runpod", "runsync", "stream", "openai", "openai stream", "gateway")
_NOT_OF_THE_GATEWAY = frozenset({"speech", "music"})  # it has no route for them
MEAN_PAUSE_S = 2.5  # between two faults, by default
_GROUPS = (PROCESS_FAULTS, INSIDE_FAULTS, NETWORK_FAULTS, LINK_FAULTS)
_SHARES = (0.3, 0.2, 0.15, 0.35)  # of these groups
_LONGEST_JUMP_S = 4 * 3600
_AT_ONCE = frozenset({"kill", "term", "device"})


@dataclass(frozen=True)
class Plan:
    """A job of a run.

    Attributes:
        number: its place in the load.
        surface: its endpoint.
        body: the name of its body in the gallery.
        way: how its client sends it and reads the answer.
        cancel_after_s: when its client cancels it; None = never.
        retried: whether the client queues it again after the cancellation.
        webhook: whether its client wants a webhook.
    """

    number: int
    surface: str
    body: str
    way: str
    cancel_after_s: float | None = None
    retried: bool = False
    webhook: bool = False


@dataclass(frozen=True)
class Fault:
    """A planned fault.

    Attributes:
        at_s: when it begins, in seconds since the start of the load.
        kind: one of the kinds above.
        target: a link, ``platform``, or the number of a worker: ``worker 2``.
        seconds: how long it lasts; 0 = it is over at once.
        jump_s: by how many seconds a clock jumps.
    """

    at_s: float
    kind: str
    target: str
    seconds: float = 0.0
    jump_s: float = 0.0


def plans(seed: int, jobs: int, ways: Sequence[str] = _WAYS) -> list[Plan]:
    """Return the jobs of a run."""
    chance = random.Random(f"jobs {seed}")
    return [_plan(chance, number, ways) for number in range(jobs)]


def _plan(chance: random.Random, number: int, ways: Sequence[str]) -> Plan:
    surface = chance.choice(SURFACES)
    names = [name for name in BODIES if name.startswith(surface)]
    way = chance.choice(ways)
    if way in {"stream", "openai stream"}:  # the streams of chat are compared event by event
        surface = "chat"
        names = [name for name in BODIES if name.startswith("chat")]
    if way == "gateway" and surface in _NOT_OF_THE_GATEWAY:
        way = "run"
    body = chance.choice(names)
    cancels = way in {"run", "stream"} and chance.random() < 0.15
    return Plan(
        number=number,
        surface=surface,
        body=body,
        way=way,
        cancel_after_s=round(chance.uniform(0.0, 1.5), 3) if cancels else None,
        retried=cancels and chance.random() < 0.5,
        webhook=way in {"run", "gateway"} and chance.random() < 0.5,
    )


def schedule(seed: int, seconds: float, workers: int, pause_s: float = MEAN_PAUSE_S) -> list[Fault]:
    """Return the faults of a run in the order of their times.

    The platform is lost at most once a minute.

    Args:
        seed: of the schedule.
        seconds: how long there are faults.
        workers: how many workers there are.
        pause_s: the mean time between two faults.
    """
    chance = random.Random(f"faults {seed}")
    faults: list[Fault] = []
    at_s, platform_s = 2.0, chance.uniform(15, 45)
    while at_s < seconds:
        faults.append(_fault(chance, at_s, workers))
        at_s += chance.expovariate(1 / pause_s)
    while platform_s < seconds:
        kind = chance.choice(PLATFORM_FAULTS)
        faults.append(Fault(round(platform_s, 3), kind, "platform", round(chance.uniform(0, 4), 3)))
        platform_s += 60 + chance.uniform(0, 30)
    return sorted(faults, key=lambda fault: fault.at_s)


def _fault(chance: random.Random, at_s: float, workers: int) -> Fault:
    worker = f"worker {chance.randrange(workers)}"
    begins_s, lasts_s = round(at_s, 3), round(chance.uniform(0.5, 6), 3)
    kind = chance.choice(chance.choices(_GROUPS, _SHARES)[0])
    if kind in LINK_FAULTS:
        target = chance.choice((worker, worker, *LINKS))
        return Fault(begins_s, kind, target, lasts_s)
    if kind in NETWORK_FAULTS:
        if kind == "partition":
            lasts_s = round(chance.choice((lasts_s, chance.uniform(5, 20))), 3)
        return Fault(begins_s, kind, chance.choice((worker, "bucket", "media")), lasts_s)
    if kind in _AT_ONCE:
        lasts_s = 0.0
    elif kind == "clock":
        target = chance.choice((worker, worker, "platform"))
        jump_s = chance.choice((-1, 1)) * chance.uniform(60, _LONGEST_JUMP_S)
        return Fault(begins_s, kind, target, lasts_s, round(jump_s, 1))
    elif kind == "stop":
        lasts_s = round(chance.choice((lasts_s, chance.uniform(5, 60))), 3)
    return Fault(begins_s, kind, worker, lasts_s)


def write(path: Path, faults: Sequence[Fault]) -> None:
    """Write a schedule as JSON."""
    path.write_text(json.dumps([asdict(fault) for fault in faults], indent=1) + "\n")


def read(path: Path) -> list[Fault]:
    """Read a schedule that ``write`` has written, or that somebody wrote by hand."""
    return [Fault(**fault) for fault in json.loads(path.read_text())]

"""How many workers an endpoint needs: RunPod's two rules. Nothing here has a clock or starts one.

Both are those of RunPod's documentation, "Endpoint settings", section "Auto-scaling type".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_RULE = re.compile(r"(?P<name>delay|requests):(?P<value>\d+(\.\d+)?)", re.ASCII)


@dataclass(frozen=True)
class Load:
    """What an endpoint has to do at one moment.

    Attributes:
        waits_s: how long each job in its queue has waited there.
        in_progress: how many jobs its workers have.
        busy: how many workers have them.
    """

    waits_s: Sequence[float]
    in_progress: int
    busy: int


@dataclass(frozen=True)
class QueueDelay:
    """One worker more for each job that has waited longer than ``delay_s``.

    They come to those that are busy: an idle one, or one that starts, will take such a job. With no
    worker at all, the first job has one at once.
    """

    delay_s: float

    def needed(self, load: Load) -> int:
        """How many workers the load needs."""
        late = sum(wait_s > self.delay_s for wait_s in load.waits_s)
        return max(load.busy + late, min(1, len(load.waits_s)))


@dataclass(frozen=True)
class RequestCount:
    """One worker for every ``requests`` jobs, waiting or in progress."""

    requests: int

    def needed(self, load: Load) -> int:
        """How many workers the load needs."""
        return math.ceil((len(load.waits_s) + load.in_progress) / self.requests)


Rule = QueueDelay | RequestCount


@dataclass(frozen=True)
class Scale:
    """How an endpoint is scaled; the defaults are RunPod's.

    Attributes:
        rule: how many workers the load needs.
        min_workers: those that always run (RunPod's active workers).
        max_workers: no more than these.
        idle_timeout_s: how long a worker that is not needed is idle before it is stopped.
    """

    rule: Rule
    min_workers: int = 0
    max_workers: int = 3
    idle_timeout_s: float = 5

    def wanted(self, load: Load) -> int:
        """How many workers there should be."""
        return min(self.max_workers, max(self.min_workers, self.rule.needed(load)))


def read_rule(text: str) -> Rule:
    """Read ``delay:SECONDS`` or ``requests:NUMBER``.

    Raises:
        ValueError: it is neither, or the number is none that the rule can use.
    """
    match = _RULE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is neither delay:SECONDS nor requests:NUMBER")
    if match["name"] == "delay":
        if not float(match["value"]):
            raise ValueError(f"{text!r}: the delay must be more than 0 seconds")
        return QueueDelay(float(match["value"]))
    if not match["value"].isdigit() or not int(match["value"]):
        raise ValueError(f"{text!r}: must be a whole number of requests, 1 or more")
    return RequestCount(int(match["value"]))

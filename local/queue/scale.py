"""How many workers an endpoint needs, by RunPod's two rules. This module has no clock.

The rules are those of RunPod's documentation, "Endpoint settings", section "Auto-scaling type".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

_RULE = re.compile(r"(?P<name>delay|requests):(?P<value>\d+(\.\d+)?)", re.ASCII)


@dataclass(frozen=True)
class Load:
    """The load of an endpoint at one moment.

    Attributes:
        waits_s: how long each job in its queue has waited there.
        in_progress: the number of jobs that its workers have.
        busy: the number of workers with a job.
    """

    waits_s: Sequence[float]
    in_progress: int
    busy: int


@dataclass(frozen=True)
class QueueDelay:
    """One more worker for each job that has waited longer than ``delay_s``.

    They are added to the busy workers: an idle or starting worker will take such a job. If there is
    no worker at all, the first job gets one at once.
    """

    delay_s: float

    def needed(self, load: Load) -> int:
        """Return the number of workers that the load needs."""
        late = sum(wait_s > self.delay_s for wait_s in load.waits_s)
        return max(load.busy + late, min(1, len(load.waits_s)))


@dataclass(frozen=True)
class RequestCount:
    """One worker for every ``requests`` jobs, queued or in progress."""

    requests: int

    def needed(self, load: Load) -> int:
        """Return the number of workers that the load needs."""
        return math.ceil((len(load.waits_s) + load.in_progress) / self.requests)


Rule = QueueDelay | RequestCount


@dataclass(frozen=True)
class Scale:
    """How an endpoint is scaled; the defaults are RunPod's.

    Attributes:
        rule: determines how many workers the load needs.
        min_workers: the number that always runs (RunPod's active workers).
        max_workers: the largest number.
        idle_timeout_s: how long a superfluous worker is idle before it is stopped.
    """

    rule: Rule
    min_workers: int = 0
    max_workers: int = 3
    idle_timeout_s: float = 5

    def wanted(self, load: Load) -> int:
        """Return how many workers there should be."""
        return min(self.max_workers, max(self.min_workers, self.rule.needed(load)))


def read_rule(text: str) -> Rule:
    """Parse ``delay:SECONDS`` or ``requests:NUMBER``.

    Raises:
        ValueError: the text is neither, or its number is invalid.
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

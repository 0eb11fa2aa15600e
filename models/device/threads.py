"""Set how many threads numeric libraries use, how they wait, and which of them go first."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_NICE = 5  # more than the process: the others get three times its share of a busy core


def share_cores(env: MutableMapping[str, str], cores: int | None = None) -> None:
    """Make OpenMP use the cores that this process may use, and let waiting threads sleep.

    By default OpenMP counts the machine's cores, of which a container may use few, and waiting
    threads spin. Beside other work, or with more threads than cores, spinning threads take the
    cores from the threads that they wait for. On two busy cores, six tokens of a small model take
    11 s, and 1 s if waiting threads sleep.

    Args:
        env: the process's environment, before any library with OpenMP is loaded; the operator's own
            settings stay.
        cores: the number of cores; None = detect it.
    """
    env.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    cores = usable_cores() if cores is None else cores
    if cores < (os.cpu_count() or 1):
        env.setdefault("OMP_NUM_THREADS", str(cores))


def give_way() -> None:
    """Give this thread, and the threads that it starts, less priority than the process has.

    A model that computes on the CPU takes all cores. So the threads that answer requests, and those
    that run short requests beside long ones, need not wait for it. Linux has priorities of threads;
    elsewhere nothing changes.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # lowering needs no right, but a sandbox may forbid the call
            process = os.getpriority(os.PRIO_PROCESS, os.getpid())
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), process + _NICE)


def usable_cores(cgroup: Path = _CGROUP) -> int:
    """Return the number of cores that this process may use, by CPU affinity and cgroup quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _quota(cgroup)
    return cores if quota is None else max(1, min(cores, round(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return a control group's quota in cores, None without a limit."""
    with suppress(OSError, ValueError):  # version 2: "200000 100000", or "max 100000"
        quota, period = (cgroup / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with suppress(OSError, ValueError):  # version 1: -1 without a limit
        quota_us = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        period_us = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
        return None if quota_us < 0 else quota_us / period_us
    return None

"""The memory of the machine that is free, within the container's limit."""

from __future__ import annotations

import re
from pathlib import Path

_MEMINFO, _CGROUP = Path("/proc/meminfo"), Path("/sys/fs/cgroup")


def free_ram(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Return how many bytes can be taken; 0 where the system does not say.

    Files that the system keeps in memory count as free: it gives their pages up.
    """
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", meminfo.read_text())
    except OSError:
        found = None
    free = int(found[1]) * 1024 if found else 0
    return max(0, min(free, _left_of(cgroup, free)))


def _left_of(cgroup: Path, otherwise: int) -> int:
    """Return what a cgroup's limit leaves; of version 2, or version 1."""
    for folder, most, used, kept in (
        (cgroup, "memory.max", "memory.current", "inactive_file"),
        (
            cgroup / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
            "total_inactive_file",
        ),
    ):  # fmt: skip
        try:
            limit = int((folder / most).read_text())  # "max" where there is none
            taken = int((folder / used).read_text())
            stat = (folder / "memory.stat").read_text()
        except (OSError, ValueError):
            continue
        files = re.search(rf"^{kept} (\d+)$", stat, re.MULTILINE)
        return limit - taken + (int(files[1]) if files else 0)
    return otherwise

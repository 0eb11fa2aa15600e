"""Counts of a device's runs, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock


@dataclass
class Load:
    """The number of runs on a device, and their total size without and with padding."""

    runs: int = 0
    size: int = 0
    padded_size: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False, compare=False)

    def add(self, size: int, padded_size: int) -> None:
        """Count a run; may be called from several threads."""
        with self._lock:
            self.runs += 1
            self.size += size
            self.padded_size += padded_size

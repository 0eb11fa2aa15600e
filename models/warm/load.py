"""Counts of a device's runs, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Load:
    """The number of runs on a device, and their total size without and with padding."""

    runs: int = 0
    size: int = 0
    padded_size: int = 0

    def add(self, size: int, padded_size: int) -> None:
        """Count a run."""
        self.runs += 1
        self.size += size
        self.padded_size += padded_size

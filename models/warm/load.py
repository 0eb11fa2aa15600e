"""What a device has done so far, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Load:
    """What a device has done: runs, and their sizes without and with padding."""

    runs: int = 0
    size: int = 0
    padded_size: int = 0

    def add(self, size: int, padded_size: int) -> None:
        """Count one more run."""
        self.runs += 1
        self.size += size
        self.padded_size += padded_size

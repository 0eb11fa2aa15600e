"""Try in a child process whether the GPU computes at all.

When a library's child process fails to start, the library does not report why. A broken GPU fails
in this child process too. A trial in the worker itself would keep a GPU context for as long as the
worker runs.

python -m models.device.trial
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from models import child
from models.device.failures import is_device_lost

_TIMEOUT_S = 90.0  # a hung GPU never responds
_LOST = 3  # the exit status of a trial that finds the GPU broken


def is_broken(
    command: Sequence[str] = child.command("models.device.trial"), timeout_s: float = _TIMEOUT_S
) -> bool:
    """Whether a small computation on the GPU fails or does not return in time.

    Args:
        command: runs the trial; its exit status is 3 if the device is lost.
        timeout_s: for importing torch, creating the context and computing.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode == _LOST


def main() -> int:
    """Compute something on the GPU; return the exit status."""
    import torch

    try:
        torch.ones(64, device="cuda").sum().item()
    except Exception as error:  # noqa: BLE001 - torch may raise anything; the message decides
        return _LOST if is_device_lost(error) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

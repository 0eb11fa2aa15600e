"""Whether the GPU computes at all, tried in a process of its own.

A library whose process fails to start does not say why to the one that started it. A GPU that is
broken fails there as here; and a trial here would keep a context on it for as long as the worker.

python -m models.device.trial
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from models import child
from models.device.failures import is_device_lost

_TIMEOUT_S = 90.0  # a GPU that hangs does not come back
_LOST = 3  # the status of a trial that finds it broken


def is_broken(
    command: Sequence[str] = child.command("models.device.trial"), timeout_s: float = _TIMEOUT_S
) -> bool:
    """Whether a small computation on the GPU fails, or does not come back.

    Args:
        command: tries it, and ends with the status 3 where the device is lost.
        timeout_s: for importing torch, the context and the computation.
    """
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return True
    return done.returncode == _LOST


def main() -> int:
    """Compute something; returns the exit status."""
    import torch

    try:
        torch.ones(64, device="cuda").sum().item()
    except Exception as error:  # noqa: BLE001 - torch raises what it likes; its words decide
        return _LOST if is_device_lost(error) else 0
    return 0


if __name__ == "__main__":
    sys.exit(main())

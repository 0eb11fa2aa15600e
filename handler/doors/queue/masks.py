"""The SDK's log without the platform's secrets.

The SDK logs errors of its requests with the whole address, which holds the worker's token.
"""

from __future__ import annotations

from typing import Any

from handler.logs import masked


def mask_addresses() -> None:
    """Have the SDK's logger mask addresses; a second call changes nothing."""
    from runpod.serverless.modules.rp_logger import RunPodLogger

    log = RunPodLogger.log
    if getattr(log, "masks", False):
        return

    def log_masked(
        self: Any, message: object, message_level: str = "INFO", job_id: str | None = None
    ) -> None:
        log(self, masked(str(message)), message_level, job_id)

    log_masked.masks = True  # type: ignore[attr-defined]
    RunPodLogger.log = log_masked

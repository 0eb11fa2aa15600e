"""The end of the process: at SIGTERM from its first line on, and without a wait for threads."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import NoReturn


def end_at_sigterm() -> None:
    """End the process at SIGTERM until somebody else handles the signal.

    A container's first process has no default action for signals: without a handler SIGTERM is
    lost. The SDK's loop and uvicorn install their own handlers when they start.
    """
    signal.signal(signal.SIGTERM, _end)


def end_process(status: int) -> NoReturn:
    """End now: the interpreter would wait for a device thread that never comes back."""
    try:
        # Looked up, not imported: a signal may arrive in the middle of an import.
        multiprocessing, logging = map(sys.modules.get, ("multiprocessing", "logging"))
        for child in multiprocessing.active_children() if multiprocessing else ():
            child.terminate()
        if logging:
            logging.shutdown()
        sys.stdout.flush()  # it may be closed, or full
    finally:
        os._exit(status)


def _end(number: int, _: FrameType | None) -> NoReturn:
    end_process(128 + number)  # the status that shells give

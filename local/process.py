"""A worker as a process on this machine, which ends with this one."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

_LAST_WORDS = 3  # how many lines of its log are kept
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class WorkerDied(Exception):
    """A worker ended before it took a job; the message is the line to print."""


@dataclass(eq=False)
class Process:
    """A worker's process, and the last lines of its log."""

    name: str
    endpoint: str
    process: subprocess.Popen[str]
    metrics_port: int
    retired: bool = False
    printer: threading.Thread | None = None
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_WORDS))


def free_port() -> int:
    """Return an unused port; if it is taken meanwhile, the worker runs without metrics."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_with_parent() -> None:
    """In the child process: have SIGTERM sent when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def signal_group(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal a worker and its children."""
    with suppress(ProcessLookupError, PermissionError):  # macOS, if the group has ended
        os.killpg(process.pid, number)

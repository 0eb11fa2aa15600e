"""The SDK's pings, which end with their worker.

The SDK pings from a process of its own. After a ``kill -9`` of the worker that process goes on, and
the platform takes the dead worker for a live one that keeps its jobs.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_worker() -> None:
    """Have the SDK's ping process use ``ping``."""
    from runpod.serverless.modules.rp_ping import Heartbeat

    Heartbeat.process_loop = staticmethod(ping)


def ping(mirror: Any = None, test: bool = False) -> None:
    """Ping until the worker ends, however it ends; runs in the ping process.

    Args:
        mirror: the ids of the jobs in progress, shared with the worker.
        test: whether to ping once only.
    """
    from runpod.serverless.modules.rp_ping import Heartbeat

    from handler.doors.queue.masks import mask_addresses

    mask_addresses()  # a process that is spawned imports the SDK anew
    _end_with_parent()
    heartbeat = Heartbeat()
    heartbeat._mirror = mirror
    heartbeat.ping_loop(test)


def _end_with_parent() -> None:
    """Have the kernel end this process with its parent, and watch for the end where it cannot."""
    parent = multiprocessing.parent_process()
    if parent is None:  # not started by multiprocessing: there is nobody to end with
        return
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent.pid:  # it ended before the call
            os._exit(0)

    def watch() -> None:
        parent.join()
        os._exit(0)

    threading.Thread(target=watch, name="parent", daemon=True).start()

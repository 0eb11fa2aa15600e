"""Names that do not resolve, or resolve late, when the control file says so.

All servers of a run are on loopback, so the port says which of them is meant.
"""

from __future__ import annotations

import random
import socket
import time
from typing import Any

from benchmarks.chaos.control import Control

_LATE_S = (0.5, 4.0)


def resolve(control: Control) -> None:
    """Let this process look names up as the control file says; addresses are not looked up."""
    real = socket.getaddrinfo

    def look_up(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        fault = control.read().get("names", {}).get(str(port))
        if fault is not None and _is_name(host):
            if fault == "fail":
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
            time.sleep(random.uniform(*_LATE_S))
        return real(host, port, *arguments, **options)

    socket.getaddrinfo = look_up


def _is_name(host: Any) -> bool:
    return isinstance(host, str) and not host.replace(".", "").isdigit() and ":" not in host

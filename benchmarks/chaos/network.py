"""Packets that are dropped, in a network of the run's own.

The kernel's sockets then see silence: no connection is reset, and TCP sends again later. This needs
root, ``unshare`` and ``ip`` (util-linux, iproute2), and ``iptables``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress

_OWN = "CHAOS_NETWORK"  # set in a process whose network is the run's own
_ENTER = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")


def enter(module: str, arguments: Sequence[str]) -> None:
    """Replace this process by the same one in a network of its own, if this is allowed."""
    if _OWN in os.environ or not _succeeds(*_ENTER, "true"):
        return
    os.environ[_OWN] = "1"
    os.execvp(_ENTER[0], [*_ENTER, sys.executable, "-m", module, *arguments])


def may_drop() -> bool:
    """Whether packets may be dropped, which is done in a network of the run's own only."""
    return _OWN in os.environ and _succeeds("iptables", "--wait", "--list", "INPUT")


def drop(port: int) -> None:
    """Drop all packets to and from a port of loopback."""
    for rule in _rules(port):
        _iptables("--insert", rule)


def let_pass(port: int) -> None:
    """End what ``drop`` has begun."""
    for rule in _rules(port):
        _iptables("--delete", rule)


def _rules(port: int) -> list[list[str]]:
    ends = ("--dport", "--sport")
    return [["INPUT", "--protocol", "tcp", end, str(port), "--jump", "DROP"] for end in ends]


def _iptables(action: str, rule: Sequence[str]) -> None:
    subprocess.run(["iptables", "--wait", action, *rule], check=True, capture_output=True)


def _succeeds(*command: str) -> bool:
    with suppress(FileNotFoundError):
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    return False

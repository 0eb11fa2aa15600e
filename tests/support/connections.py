"""To whom a process and its children want to talk: every connection, and every name looked up.

Noted below Python, by a library that is preloaded, since libraries in C++ have clients of their own.
Where there is no C compiler, Python's own sockets are looked at.
"""

from __future__ import annotations

import functools
import ipaddress
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

_SOURCE = Path(__file__).parent / "connections.c"
_PATCH = """
import os, socket

def _note(what, where):
    with open(os.environ["NOTED_CONNECTIONS"], "a") as noted:
        noted.write(f"{os.getpid()} {what} {where}\\n")

_connect, _getaddrinfo = socket.socket.connect, socket.getaddrinfo

def connect(self, address):
    if self.family != socket.AF_UNIX:
        _note("connect", address[0])
    return _connect(self, address)

def getaddrinfo(host, *args, **kwargs):
    _note("getaddrinfo", host)
    return _getaddrinfo(host, *args, **kwargs)

socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
"""
_LOCAL = {"", "localhost", "None", socket.gethostname()}


@functools.cache
def _library() -> Path | None:
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    made = Path(tempfile.mkdtemp(prefix="connections")) / "connections.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(_SOURCE), "-ldl"]
    return made if subprocess.run(command, check=False).returncode == 0 else None


def noting(folder: Path) -> dict[str, str]:
    """The environment of a process that is to be looked at."""
    noted = {"NOTED_CONNECTIONS": str(folder / "connections")}
    library = _library()
    if library is not None:
        return {**noted, "LD_PRELOAD": str(library)}
    (folder / "sitecustomize.py").write_text(_PATCH)
    return {**noted, "PYTHONPATH": str(folder)}


def noted(folder: Path) -> list[str]:
    """What was noted, in words: ``connect 127.0.0.1``."""
    file = folder / "connections"
    return (
        [line.partition(" ")[2] for line in file.read_text().splitlines()] if file.exists() else []
    )


def outgoing(folder: Path) -> list[str]:
    """The same without what stays on this machine."""
    return [one for one in noted(folder) if not _stays(one.partition(" ")[2])]


def _stays(where: str) -> bool:
    if where in _LOCAL:
        return True
    try:
        address = ipaddress.ip_address(where)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified

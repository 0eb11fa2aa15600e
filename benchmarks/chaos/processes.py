"""The processes of a run: the platform, and workers that are replaced when they end."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import httpx

from benchmarks.chaos.control import VARIABLE, Control
from benchmarks.chaos.proxy import Link
from local.environment import clean, variables
from local.process import end_with_parent, free_port

ROOT = Path(__file__).parents[2]
_LOOK_S = 0.1
_DISK_BYTES = 4 << 20


class PlatformProcess:
    """The platform, on one port for the whole run."""

    def __init__(self, log: Path) -> None:
        self.port = free_port()
        self.token = secrets.token_urlsafe(16)
        self.control = Control(log.with_suffix(".json"))
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its own address, not through a proxy."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "benchmarks.chaos.platform", str(self.port)]
        env = {
            **clean(os.environ),
            "CHAOS_TOKEN": self.token,
            "CHAOS_STATE": str(self._log.with_suffix(".sqlite")),
            VARIABLE: str(self.control.path),
        }
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - it takes milliseconds
                command,
                cwd=ROOT,
                env=env,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        async with httpx.AsyncClient() as http:
            while True:
                with suppress(httpx.HTTPError):
                    await http.get(f"{self.url}/docs")
                    return
                await asyncio.sleep(_LOOK_S)

    async def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for the end."""
        if self._process is not None:
            self._process.send_signal(number)
            await asyncio.to_thread(self._process.wait)


@dataclass
class Life:
    """One process of a worker, from its start to its end."""

    process: subprocess.Popen[bytes]
    worker_id: str
    metrics_port: int
    folder: Path
    killed: bool = False


@dataclass
class WorkerSlot:
    """A place for a worker, whose process is replaced when it ends.

    Attributes:
        number: its place.
        link: its way to the platform.
        folder: for the log, and the temporary files of each life.
        env: the variables of its processes.
        lives: its processes, the last one current.
        ended: set once it is to have no further process.
    """

    number: int
    link: Link
    folder: Path
    env: Mapping[str, str]
    token: str
    lives: list[Life] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        """What the faults call it."""
        return f"worker {self.number}"

    @cached_property
    def control(self) -> Control:
        """The faults inside its processes."""
        return Control(self.folder / f"worker-{self.number}.json")

    async def keep(self) -> None:
        """Run a process, and another after its end, until ``ended`` is set."""
        while not self.ended.is_set():
            life = self._start()
            self.lives.append(life)
            while life.process.poll() is None:  # noqa: ASYNC110 - a process has no event
                await asyncio.sleep(_LOOK_S)
            if not self.ended.is_set():
                await asyncio.sleep(0.5)

    def signal(self, number: signal.Signals) -> None:
        """Signal the current process alone, as the out-of-memory killer does."""
        life = self.lives[-1]
        life.killed = life.killed or number == signal.SIGKILL
        with suppress(ProcessLookupError):
            life.process.send_signal(number)

    def _start(self) -> Life:
        folder = self.folder / f"{self.number}-{len(self.lives)}"
        folder.mkdir(parents=True)
        mounted(folder)
        port = free_port()
        worker_id = f"chaos-{self.number}-{len(self.lives)}"
        with (self.folder / f"worker-{self.number}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "benchmarks.chaos.worker"],
                cwd=ROOT,
                env={
                    **self.env,
                    **variables(self.link.url, "all", worker_id, self.token),
                    "METRICS_PORT": str(port),
                    "TMPDIR": str(folder),
                    VARIABLE: str(self.control.path),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=end_with_parent,
            )
        return Life(process, worker_id, port, folder)


def mounted(folder: Path) -> bool:
    """Mount a small file system, which a fault can fill; return whether this is allowed here."""
    options = ["-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "none", str(folder)]
    try:
        return subprocess.run(["mount", *options], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def may_mount() -> bool:
    """Whether a file system may be mounted here, without which no disk can be filled."""
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        allowed = mounted(Path(folder))
        if allowed:
            unmount(Path(folder))
        return allowed


def unmount(folder: Path) -> None:
    """Unmount what ``mounted`` has mounted, if it has."""
    with suppress(FileNotFoundError):
        subprocess.run(["umount", "-l", str(folder)], capture_output=True, check=False)


def fill(folder: Path) -> Path | None:
    """Fill the small file system; None if the folder is on a large one."""
    if not folder.is_mount():
        return None
    filler = folder / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return filler

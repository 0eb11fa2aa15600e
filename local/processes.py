"""Worker processes: the real ``python -m handler``, started, watched, replaced and stopped.

Each has a session of its own, so that Ctrl-C at the terminal does not reach it, and so that all of
it ends with it: the SDK's pings come from a process beside the worker. On Linux none outlives the
platform, however that ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from local.queue.endpoints import EVERYTHING
from local.queue.platform import Platform

_LOOK_S = 0.05
_RESTART_S = 1.0
_STARTS = 5  # of one worker that dies before it takes a job, after the first that did
_LAST_WORDS = 3
_CONCURRENCY = "32"


class WorkerDied(Exception):
    """A worker ended before it took a job; the message is the line to print."""


@dataclass(eq=False)
class _Process:
    name: str
    process: subprocess.Popen[str]
    printer: threading.Thread | None = None
    last_words: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_WORDS))


class Workers:
    """Keeps a number of workers going.

    Args:
        platform: what they work for; it hears of each end at once.
        url: the platform's address, without a path.
        token: the secret in the workers' addresses.
        surfaces: what they serve, as ``SURFACE`` has it.
        env: the environment they inherit.
        say: prints a line.
        count: how many will run beside each other.
        command: what to start; tests start other workers.
    """

    def __init__(
        self,
        platform: Platform,
        url: str,
        token: str,
        surfaces: str,
        env: Mapping[str, str],
        say: Callable[[str], None],
        count: int = 1,
        command: tuple[str, ...] = (sys.executable, "-u", "-m", "handler"),
    ) -> None:
        self._platform = platform
        self._url = url
        self._token = token
        self._env = {**clean(env), "SURFACE": surfaces}
        if "," in surfaces:
            # Each surface's own is kept low, so that one worker of many takes no more than it can
            # do; here a worker of several surfaces should not hold up one for another.
            self._env.setdefault("CONCURRENCY", _CONCURRENCY)
        self._say = say
        self._command = command
        self._running: dict[str, _Process] = {}
        if count > 1:
            # Each engine's library takes all cores: several of them together, many times too many.
            share = max(1, (os.cpu_count() or 1) // count)
            self._env.setdefault("OMP_NUM_THREADS", str(share))
        self._stop = asyncio.Event()
        self.killed = False
        self._count = 0

    async def keep(self) -> None:
        """Run one worker, and another one in its place each time it ends, until ``stop``.

        Raises:
            WorkerDied: one ended before it took a job, and so would the next.
        """
        proved, failures = False, 0
        while not self._stop.is_set():
            one = self._start()
            took = await self._watch(one)
            if self._stop.is_set():
                return
            status = one.process.returncode
            if took:
                proved, failures = True, 0
                self._say(f"{one.name} ended with status {status}; another one takes its place")
            else:
                failures += 1
                if not proved or failures == _STARTS:
                    words = " / ".join(one.last_words) or "it said nothing"
                    raise WorkerDied(
                        f"{one.name} ended with status {status} before it took a job: {words}"
                    )
            await asyncio.sleep(_RESTART_S)

    async def stop(self) -> None:
        """Ask all of them to finish what they have, and wait."""
        self._stop.set()
        for one in list(self._running.values()):
            with suppress(ProcessLookupError):
                one.process.terminate()
        while self._running:  # noqa: ASYNC110 - their ends are looked for anyway
            await asyncio.sleep(_LOOK_S)

    def kill(self) -> None:
        """End all of them now."""
        self.killed = True
        self._stop.set()
        for one in self._running.values():
            _kill_group(one.process)

    def pids(self) -> dict[str, int]:
        """The process ids of the running workers, by name."""
        return {name: one.process.pid for name, one in self._running.items()}

    def _start(self) -> _Process:
        self._count += 1
        name = f"worker-{self._count}"
        process = subprocess.Popen(
            self._command,
            env={**self._env, **variables(self._url, EVERYTHING, name, self._token)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        one = self._running[name] = _Process(name, process)
        one.printer = threading.Thread(target=self._repeat, args=(one,), daemon=True)
        one.printer.start()
        self._platform.worker(EVERYTHING, name, joins=True)
        return one

    def _repeat(self, one: _Process) -> None:
        """Print what a worker prints; on a thread of its own, to the end of its output."""
        if one.process.stdout is None:
            return
        with one.process.stdout as output:
            for line in output:
                # The SDK's errors name the address, and so the secret in it.
                if text := line.rstrip().replace(self._token, "…"):
                    one.last_words.append(text)
                    self._say(f"{one.name} | {text}")

    async def _watch(self, one: _Process) -> bool:
        """Wait for a worker's end; says whether it had taken jobs.

        One that asks to be replaced (the SDK's ``refresh_worker``) finishes what it has, and ends.
        """
        worker, took, asked = self._platform.workers[one.name], False, False
        while one.process.poll() is None:
            # A worker that was frozen is forgotten, and joins anew when it is back.
            worker = self._platform.workers.get(one.name, worker)
            took = took or worker.taking
            if worker.leaving and not (asked or self._stop.is_set()):
                one.process.terminate()
                asked = True
            await asyncio.sleep(_LOOK_S)
        _kill_group(one.process)
        if one.printer is not None:
            await asyncio.to_thread(one.printer.join)
        del self._running[one.name]
        self._platform.gone(worker, "ended")
        return took or worker.taking


def clean(env: Mapping[str, str]) -> dict[str, str]:
    """The environment without what belongs to another platform, or to another way to start."""
    kept = {"RUNPOD_LOG_LEVEL"}
    ours = {"LOCAL_API_KEY", "WEBHOOK_SIGNING_SECRET", "SERVE", "PORT", "PORT_HEALTH"}
    return {
        name: value
        for name, value in env.items()
        if (not name.startswith("RUNPOD_") or name in kept) and name not in ours
    }


def variables(url: str, endpoint: str, worker_id: str, token: str) -> dict[str, str]:
    """What RunPod sets on a worker; the SDK fills in ``$ID`` and ``$RUNPOD_POD_ID``."""
    base = f"{url}/v2/{endpoint}"
    return {
        "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?token={token}",
        "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?token={token}",
        "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?token={token}",
        "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?token={token}",
        "RUNPOD_POD_ID": worker_id,
        "RUNPOD_AI_API_KEY": "local",
        # They ask a public name server, and for a share of free disk.
        "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
        "RUNPOD_SKIP_GPU_CHECK": "true",
    }


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _end_with_parent() -> None:
    """In the child, before it becomes the worker: SIGTERM when the thread that started it ends."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _kill_group(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)

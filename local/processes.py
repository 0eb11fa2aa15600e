"""Worker processes: the real ``python -m handler``, started, watched, replaced and stopped.

Each has a session of its own, so that Ctrl-C at the terminal does not reach it, and so that all of
it ends with it: the SDK's pings come from a process beside the worker. On Linux none outlives the
platform, however that ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

from local.environment import clean, of_endpoint, variables
from local.process import Process, WorkerDied, end_with_parent, free_port, signal_group
from local.queue.endpoints import EVERYTHING
from local.queue.platform import Platform
from local.queue.workers import Worker

_LOOK_S = 0.05
_RESTART_S = 1.0
_STARTS = 5  # of one worker that dies before it takes a job, after the first that did
_END_S = 15.0  # for a worker without a job to end, when it is asked to
_WAKE_S = 1.0  # how often one that ends is woken, in case it is stopped
_CONCURRENCY = "32"


class Workers:
    """Keeps workers going, each in place of the one before.

    Args:
        platform: what they work for; it hears of each end at once.
        url: the platform's address, without a path.
        token: the secret in the workers' addresses.
        surfaces: what those of ``all`` serve, as ``SURFACE`` has it.
        env: the environment they inherit.
        say: prints a line.
        count: how many will run beside each other at most.
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
        self._surfaces = surfaces
        self._env = clean(env)
        self._say = say
        self._command = command
        self._running: dict[str, Process] = {}
        if count > 1:
            # Each engine's library takes all cores: several of them together, many times too many.
            share = max(1, (os.cpu_count() or 1) // count)
            self._env.setdefault("OMP_NUM_THREADS", str(share))
        self._stop = asyncio.Event()
        self.killed = False
        self._count = 0
        self._proved: set[str] = set()  # the endpoints whose workers have taken jobs

    @property
    def stopping(self) -> bool:
        """Whether no more are started."""
        return self._stop.is_set()

    async def keep(self, endpoint: str = EVERYTHING) -> None:
        """Run a worker, and another in its place when it ends, until ``stop`` or ``retire``.

        Raises:
            WorkerDied: one ended before it took a job, and so would the next.
        """
        failures = 0
        while not self._stop.is_set():
            one = self._start(endpoint)
            took = await self._watch(one)
            if self._stop.is_set() or one.retired:
                return
            status = one.process.returncode
            if took:
                failures = 0
                self._say(f"{one.name} ended with status {status}; another one takes its place")
            else:
                failures += 1
                if endpoint not in self._proved or failures == _STARTS:
                    words = " / ".join(one.last_words) or "it said nothing"
                    raise WorkerDied(
                        f"{one.name} ended with status {status} before it took a job: {words}"
                    )
            await asyncio.sleep(_RESTART_S)

    def retire(self, worker: Worker) -> None:
        """Give a worker no more jobs, and stop it; no other takes its place."""
        if (one := self._running.get(worker.id)) is not None:
            one.retired = True
            self._platform.dismiss(worker)  # ``_watch`` sees it, and asks the process to end

    def retiring(self, endpoint: str) -> int:
        """How many workers of an endpoint were retired and have not ended yet."""
        return sum(one.retired and one.endpoint == endpoint for one in self._running.values())

    async def stop(self) -> None:
        """Ask all of them to finish what they have, and wait."""
        self._stop.set()
        for one in list(self._running.values()):
            one.process.terminate()
        begin = wake = asyncio.get_running_loop().time()
        while self._running:
            now = asyncio.get_running_loop().time()
            if now >= wake:
                wake = now + _WAKE_S
                self._wake_and_end(late=now - begin > _END_S)
            await asyncio.sleep(_LOOK_S)

    def _wake_and_end(self, *, late: bool) -> None:
        """Wake workers that are stopped (SIGSTOP): SIGTERM waits until they go on.

        Args:
            late: whether those without a job have had their time, and are killed.
        """
        for one in self._running.values():
            worker = self._platform.workers.get(one.name)
            has_jobs = worker is not None and bool(worker.jobs)
            signal_group(one.process, signal.SIGKILL if late and not has_jobs else signal.SIGCONT)

    def kill(self) -> None:
        """End all of them now."""
        self.killed = True
        self._stop.set()
        for one in self._running.values():
            signal_group(one.process, signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        """The process ids of the running workers, by name."""
        return {name: one.process.pid for name, one in self._running.items()}

    def _start(self, endpoint: str) -> Process:
        self._count += 1
        name, port = f"worker-{self._count}", free_port()
        process = subprocess.Popen(
            self._command,
            env=self._env_of(endpoint)
            | variables(self._url, endpoint, name, self._token)
            | {"METRICS_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        one = self._running[name] = Process(name, endpoint, process, port)
        one.printer = threading.Thread(target=self._repeat, args=(one,), daemon=True)
        one.printer.start()
        self._platform.worker(endpoint, name, joins=True)
        return one

    def _env_of(self, endpoint: str) -> dict[str, str]:
        """The environment of an endpoint's workers: what they serve, beside what they inherit."""
        served = self._platform.served[endpoint]
        own = {"SURFACE": self._surfaces} if served is None else of_endpoint(served)
        env = {**self._env, **own}
        if "," in env["SURFACE"]:
            # Each surface's own is kept low, so that one worker of many takes no more than it can
            # do; here a worker of several surfaces should not hold up one for another.
            env.setdefault("CONCURRENCY", _CONCURRENCY)
        return env

    def _repeat(self, one: Process) -> None:
        """Print what a worker prints; on a thread of its own, to the end of its output."""
        if one.process.stdout is None:
            return
        with one.process.stdout as output:
            for line in output:
                # The SDK's errors name the address, and so the secret in it.
                if text := line.rstrip().replace(self._token, "…"):
                    one.last_words.append(text)
                    self._say(f"{one.name} | {text}")

    async def _watch(self, one: Process) -> bool:
        """Wait for a worker's end; says whether it had taken jobs.

        One that is to leave, since it asks to be replaced (the SDK's ``refresh_worker``) or is
        retired, finishes what it has, and ends.
        """
        worker, took, asked = self._platform.workers[one.name], False, False
        ended = False
        while not ended:
            ended = one.process.poll() is not None
            # A worker that was frozen is forgotten, and joins anew when it is back.
            worker = self._platform.workers.get(one.name, worker)
            worker.metrics_port = one.metrics_port
            if worker.taking:
                took = True
                self._proved.add(one.endpoint)
            if worker.leaving and not (ended or asked or self._stop.is_set()):
                one.process.terminate()
                signal_group(one.process, signal.SIGCONT)
                asked = True
            await asyncio.sleep(0 if ended else _LOOK_S)
        signal_group(one.process, signal.SIGKILL)
        if one.printer is not None:
            await asyncio.to_thread(one.printer.join)
        del self._running[one.name]
        self._platform.gone(worker, "ended")
        return took

"""Worker processes: ``python -m handler``, started, watched, replaced and stopped.

Each has its own session: Ctrl-C at the terminal does not reach it, and its child processes end with
it (the SDK's pings come from one). On Linux, no worker outlives the platform, however the platform
ends.
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
_STARTS = 5  # how often a worker is started again that dies before it takes a job
_END_S = 15.0  # how long a worker without a job may take to end
_WAKE_S = 1.0  # how often an ending worker gets SIGCONT, in case it is stopped
_CONCURRENCY = "32"


class Workers:
    """Keeps workers running, and replaces those that end.

    Args:
        platform: their platform; it is notified at once when a worker ends.
        url: the platform's URL, without a path.
        token: the secret in the workers' URLs.
        surfaces: the surfaces that the workers of ``all`` serve, as in ``SURFACE``.
        env: the environment that they inherit.
        say: prints a line.
        count: the largest number of workers at a time.
        command: the command to start; tests start other workers.
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
            # Each engine's library uses all cores; several workers would use far too many threads.
            share = max(1, (os.cpu_count() or 1) // count)
            self._env.setdefault("OMP_NUM_THREADS", str(share))
        self._stop = asyncio.Event()
        self.killed = False
        self._count = 0
        self._proved: set[str] = set()  # endpoints whose workers have taken a job

    @property
    def stopping(self) -> bool:
        """Whether the workers are being stopped, and no more are started."""
        return self._stop.is_set()

    async def keep(self, endpoint: str = EVERYTHING) -> None:
        """Run a worker, and replace it when it ends, until ``stop`` or ``retire``.

        Raises:
            WorkerDied: a worker ended before it took a job, and so would the next.
        """
        failures = 0
        while not self._stop.is_set():
            process = self._start(endpoint)
            took = await self._watch(process)
            if self._stop.is_set() or process.retired:
                return
            status = process.process.returncode
            if took:
                failures = 0
                self._say(f"{process.name} ended with status {status}; another one takes its place")
            else:
                failures += 1
                if endpoint not in self._proved or failures == _STARTS:
                    words = " / ".join(process.last_words) or "no output"
                    raise WorkerDied(
                        f"{process.name} ended with status {status} before it took a job: {words}"
                    )
            await asyncio.sleep(_RESTART_S)

    def retire(self, worker: Worker) -> None:
        """Give a worker no more jobs and stop it, without a replacement."""
        if (process := self._running.get(worker.id)) is not None:
            process.retired = True
            self._platform.dismiss(worker)  # ``_watch`` then terminates the process

    def retiring(self, endpoint: str) -> int:
        """Return the number of an endpoint's workers that were retired and have not ended yet."""
        running = self._running.values()
        return sum(process.retired and process.endpoint == endpoint for process in running)

    async def stop(self) -> None:
        """Tell all workers to finish their jobs and end, and wait for them."""
        self._stop.set()
        for process in list(self._running.values()):
            process.process.terminate()
        begin = wake = asyncio.get_running_loop().time()
        while self._running:
            now = asyncio.get_running_loop().time()
            if now >= wake:
                wake = now + _WAKE_S
                self._wake_and_end(late=now - begin > _END_S)
            await asyncio.sleep(_LOOK_S)

    def _wake_and_end(self, *, late: bool) -> None:
        """Wake workers that are stopped (SIGSTOP): until then, SIGTERM has no effect.

        Args:
            late: whether workers without a job have had enough time, and are killed.
        """
        for process in self._running.values():
            worker = self._platform.workers.get(process.name)
            has_jobs = worker is not None and bool(worker.jobs)
            number = signal.SIGKILL if late and not has_jobs else signal.SIGCONT
            signal_group(process.process, number)

    def kill(self) -> None:
        """Kill all workers."""
        self.killed = True
        self._stop.set()
        for process in self._running.values():
            signal_group(process.process, signal.SIGKILL)

    def pids(self) -> dict[str, int]:
        """Return the process ids of the running workers, by name."""
        return {name: process.process.pid for name, process in self._running.items()}

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
        entry = self._running[name] = Process(name, endpoint, process, port)
        entry.printer = threading.Thread(target=self._print_log, args=(entry,), daemon=True)
        entry.printer.start()
        self._platform.worker(endpoint, name, joins=True)
        return entry

    def _env_of(self, endpoint: str) -> dict[str, str]:
        """Return the environment of an endpoint's workers: inherited, and what they serve."""
        served = self._platform.served[endpoint]
        own = {"SURFACE": self._surfaces} if served is None else of_endpoint(served)
        env = {**self._env, **own}
        if "," in env["SURFACE"]:
            # The default for a single surface is low, so that one of many workers does not take
            # too many jobs. Here, one surface must not delay another in the same worker.
            env.setdefault("CONCURRENCY", _CONCURRENCY)
        return env

    def _print_log(self, process: Process) -> None:
        """Print a worker's output until it ends; runs in its own thread."""
        if process.process.stdout is None:
            return
        with process.process.stdout as output:
            for line in output:
                # The SDK's errors contain the URL, and so the secret.
                if text := line.rstrip().replace(self._token, "…"):
                    process.last_words.append(text)
                    self._say(f"{process.name} | {text}")

    async def _watch(self, process: Process) -> bool:
        """Wait for a worker's end; return whether it has taken jobs.

        A worker that is retired, or asks to be replaced (the SDK's ``refresh_worker``), finishes
        its jobs and ends.
        """
        worker, took, terminated = self._platform.workers[process.name], False, False
        ended = False
        while not ended:
            ended = process.process.poll() is not None
            # A frozen worker is removed from the platform, and joins again when it is back.
            worker = self._platform.workers.get(process.name, worker)
            worker.metrics_port = process.metrics_port
            if worker.taking:
                took = True
                self._proved.add(process.endpoint)
            if worker.leaving and not (ended or terminated or self._stop.is_set()):
                process.process.terminate()
                signal_group(process.process, signal.SIGCONT)
                terminated = True
            await asyncio.sleep(0 if ended else _LOOK_S)
        signal_group(process.process, signal.SIGKILL)
        if process.printer is not None:
            await asyncio.to_thread(process.printer.join)
        del self._running[process.name]
        self._platform.gone(worker, "ended")
        return took

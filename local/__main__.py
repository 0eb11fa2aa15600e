"""``python -m local``: RunPod's queue and the gateway's front door on this machine.

Starts the server and its workers, and prints ``ready`` once they take jobs. On Ctrl-C it waits for
the jobs in progress to finish. A second Ctrl-C ends everything at once.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import secrets
import shlex
import signal
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from local.app import Options, build
from local.arguments import LOOPBACK, Arguments, Usage, read_arguments
from local.environment import variables, with_stand_ins
from local.model_check import complaints
from local.pools import pools
from local.process import WorkerDied
from local.processes import Workers
from local.queue.endpoints import EVERYTHING
from local.queue.platform import Platform
from local.queue.state import StateUnusable

_ANY = "0.0.0.0"  # noqa: S104 - used only if the operator asks for it
_LOOK_S = 0.05
# Longer than clients keep an idle connection (aiohttp: 15 s). A worker may post a result on a
# connection that is closed at that moment; a client that does not send it again loses the result.
KEEP_ALIVE_S = 75


def main() -> int:
    """Run the platform; return the exit status."""
    try:
        arguments = read_arguments()
        env = with_stand_ins(os.environ, arguments.options.further)
        if wrong := complaints(arguments.options.further, env):
            raise Usage("; ".join(f"--endpoint {line}" for line in wrong))
        listener = _listen(arguments.host, arguments.port)
        logging.basicConfig(level=logging.WARNING, format="%(message)s")
        asyncio.run(_run(arguments, listener, env))
    except (Usage, WorkerDied, StateUnusable) as error:
        print(f"local: {error}", file=sys.stderr)
        return 1
    return 0


def _listen(host: str, port: int) -> socket.socket:
    # With an explicit protocol, asyncio disables Nagle's algorithm, which delays answers by 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
            raise Usage(f"--host {host} is not an address of this machine") from None
        taken = error.errno == errno.EADDRINUSE
        reason = "is taken; choose another with --port" if taken else "cannot be used"
        raise Usage(f"port {port} {reason}") from None
    return listener


class _Server(uvicorn.Server):
    """A server without signal handlers of its own: stopping begins with the workers."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _server(application: ASGIApp) -> _Server:
    config = uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=5,
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    return _Server(config)


async def _run(arguments: Arguments, listener: socket.socket, env: Mapping[str, str]) -> None:
    options, shared = arguments.options, arguments.workers
    application, platform = build(options)
    # The workers and the reader of these lines are on this machine.
    host = LOOPBACK if arguments.host == _ANY else arguments.host
    url = f"http://{host}:{listener.getsockname()[1]}"
    server = _server(application)
    scale, surfaces = options.scale, ",".join(options.surfaces)
    most = shared if scale is None else scale.max_workers
    workers = Workers(platform, url, options.token, surfaces, env, _say, most)
    scaled = [] if scale is None else pools(platform, workers, scale, _say)
    stop = _stop_event(workers)
    serving = asyncio.create_task(server.serve([listener]))
    while not (server.started or serving.done()):  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    _introduce(url, options)
    if arguments.host != LOOPBACK and options.key is None:
        _say(f"  anyone who reaches {arguments.host} may send requests: set LOCAL_API_KEY")
    if not (shared or scaled):
        _say_how_by_hand(url, options.token)
    least = sum(pool.least for pool in scaled) if scaled else max(1, shared)
    ready = asyncio.create_task(_say_ready(platform, least))
    keeping = [asyncio.create_task(workers.keep()) for _ in range(shared)]
    keeping += [asyncio.create_task(pool.keep()) for pool in scaled]
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({stopped, *keeping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ready.cancel()
        await _drain(platform, workers)
        server.should_exit = True
        await serving
    await asyncio.gather(*keeping)  # raises the error of a task that failed


def _stop_event(workers: Workers) -> asyncio.Event:
    """Return an event that the first Ctrl-C or SIGTERM sets; the second kills the workers."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            workers.kill()
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop


async def _drain(platform: Platform, workers: Workers) -> None:
    """Wait for jobs in progress, also at workers started by hand; cancel queued jobs."""
    if waiting := platform.drain():
        _say(f"stopping: {waiting} in the queue are cancelled")
    if platform.in_flight:
        _say(f"stopping: {platform.in_flight} in flight finish first (Ctrl-C again ends them)")
    await workers.stop()
    while platform.in_flight and not workers.killed:  # noqa: ASYNC110 - rare, and short
        await asyncio.sleep(_LOOK_S)
    platform.drain()  # jobs that a worker returned to the queue unfinished


async def _say_ready(platform: Platform, least: int) -> None:
    """Print a line once ``least`` workers take jobs."""
    if not least:
        _say("ready: workers start with the jobs")
        return
    while True:
        changed = platform.workers_changed
        taking = sum(worker.taking for worker in platform.workers.values())
        if taking >= least:
            break
        await changed.wait()
    _say(f"ready: {taking} worker{'s' if taking > 1 else ''}")


def _introduce(url: str, options: Options) -> None:
    key = "$LOCAL_API_KEY" if options.key else "any"
    first = options.surfaces[0]
    _say(f"listening on {url}")
    _say(f"  a page to try it   {url}/")
    names = ",".join((*options.surfaces, *options.further, EVERYTHING))
    _say(f"  RunPod's routes    {url}/v2/{{{names}}}/run …")
    _say(f"  OpenAI's, queued   {url}/v2/{first}/openai/v1   (base_url of the openai package)")
    _say(f"  the gateway's      {url}/v1 …, documented at {url}/docs")
    _say("try:")
    _say(f"  curl -s {url}/v2/{first}/health -H 'Authorization: Bearer {key}'")


def _say_how_by_hand(url: str, token: str) -> None:
    name = f"worker-by-hand-{secrets.token_hex(3)}"
    environment = variables(url, EVERYTHING, name, token)
    _say("no worker is started; to start one by hand:")
    words = " ".join(f"{name}={shlex.quote(value)}" for name, value in environment.items())
    _say(f"  {words} {shlex.quote(sys.executable)} -m handler")


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:  # the reader of the output has gone: stop, as Ctrl-C does
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

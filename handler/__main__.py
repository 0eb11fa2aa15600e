"""``python -m handler``: start the worker, or run one job.

With ``RUNPOD_WEBHOOK_GET_JOB`` set (RunPod sets it) the SDK's loop starts. Otherwise one job is
run, from ``--test_input '<json>'`` or ``test_input.json``: its answer goes to standard output as
JSON, a stream event by event, and the exit status is 0, or 1 with the error object.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import sys
import time
from collections.abc import AsyncGenerator
from pathlib import Path
from types import ModuleType
from typing import Any

from handler import logs
from handler.assemble import assemble
from handler.entry import Worker
from handler.errors import JobInvalid, error_object, wire
from handler.settings import Settings, SettingsError
from models.errors import QuartetError

_TEST_INPUT = Path("test_input.json")


def main() -> int:
    """Run; returns the exit status."""
    start = time.monotonic()
    on_platform = "RUNPOD_WEBHOOK_GET_JOB" in os.environ
    try:
        settings = Settings.from_env(os.environ)
        logs.configure(settings.log_level, as_json="RUNPOD_ENDPOINT_ID" in os.environ)
        worker = assemble(settings)
    except (SettingsError, QuartetError) as error:
        print(f"quartet: {error}", file=sys.stderr)
        return 1
    if on_platform:
        _serve(worker, settings, start)
        return 0
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal's locale says
    return asyncio.run(_run_once(worker, _arguments().test_input))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m handler", description="Run one job, or on RunPod start the worker."
    )
    parser.add_argument(
        "--test_input",
        metavar="JSON",
        help="the job, or @FILE to read it from a file; default: @test_input.json",
    )
    return parser.parse_args()


# One job on this machine ------------------------------------------------------------------------


async def _run_once(worker: Worker, text: str | None) -> int:
    try:
        raw = _read(text)
    except QuartetError as error:
        return _print_error(wire(error))
    if not worker.wants_stream(raw):
        return _print(await worker.answer(raw))
    status = 0
    async for event in worker.stream(raw):
        status |= _print(event)
    return status


def _read(text: str | None) -> object:
    """The job from the command line or the file that it names, else from the current folder."""
    if text is None and not _TEST_INPUT.is_file():
        raise JobInvalid(f"There is no {_TEST_INPUT} here; write one or give --test_input.")
    given = f"@{_TEST_INPUT}" if text is None else text
    try:
        if given.startswith("@"):
            given = Path(given[1:]).read_text(encoding="utf-8")
        return json.loads(given)
    except (ValueError, RecursionError) as error:
        raise JobInvalid("The test input is not JSON in UTF-8.") from error
    except OSError as error:
        raise JobInvalid("The test input cannot be read.") from error


def _print(output: Any) -> int:
    if isinstance(output, dict) and "error" in output:
        return _print_error(output)
    if isinstance(output, str) and output.startswith("data: "):
        print(output, end="", flush=True)  # server-sent events, as they go over the wire
    else:
        print(json.dumps(output, ensure_ascii=False), flush=True)
    return 0


def _print_error(output: dict[str, Any]) -> int:
    print(json.dumps({"error": json.loads(output["error"])}), flush=True)
    return 1


# The SDK's loop ---------------------------------------------------------------------------------


def _serve(worker: Worker, settings: Settings, start: float) -> None:
    import logging

    log = logging.getLogger("handler")
    runpod = _import_runpod(settings.log_level)
    _choose_kind_per_job(worker)
    _preload(worker, settings)
    concurrency = settings.concurrency or worker.dispatcher.endpoint.concurrency
    log.info("ready after %.1f s", time.monotonic() - start)
    runpod.serverless.start(
        {
            "handler": worker.answer,
            "return_aggregate_stream": True,
            # A constant: when this value changes, the SDK takes no job until all in flight end.
            "concurrency_modifier": lambda _current: concurrency,
        }
    )


def _import_runpod(log_level: str) -> ModuleType:
    """Import the SDK without what it does to a cold start.

    At import it asks py-cpuinfo for the processor's name, for a debugger's report that is not used
    here: more than a second, two thirds of the import. An empty answer is one that it handles.
    """
    nobody = ModuleType("cpuinfo")
    nobody.get_cpu_info = dict  # type: ignore[attr-defined]
    real = sys.modules.get("cpuinfo")
    sys.modules["cpuinfo"] = nobody
    try:
        import runpod
    finally:
        del sys.modules["cpuinfo"]
        if real is not None:
            sys.modules["cpuinfo"] = real
    # Its default, DEBUG, prints every answer whole.
    runpod.RunPodLogger().level = log_level
    module: ModuleType = runpod
    return module


def _choose_kind_per_job(worker: Worker) -> None:
    """Let a job that streams run as a generator and every other as a coroutine.

    The SDK decides once, by the kind of ``config["handler"]``; a generator's answer then arrives
    as a list even when it is one object. Its own ``handle_job`` does the work for both kinds.
    """
    from runpod.serverless.modules import rp_scale

    sdk_handle_job = rp_scale.handle_job

    async def stream(job: dict[str, Any]) -> AsyncGenerator[Any, None]:
        async for event in worker.stream(job):
            yield event

    async def handle_job(session: Any, config: dict[str, Any], job: dict[str, Any]) -> None:
        handler = stream if worker.wants_stream(job) else worker.answer
        await sdk_handle_job(session, {**config, "handler": handler}, job)

    rp_scale.handle_job = handle_job


def _preload(worker: Worker, settings: Settings) -> None:
    """Warm the model that most jobs will ask for, before the first job is taken.

    A failure is logged and the worker goes on: each job then gets the clear error, where a worker
    that exits would be started again and again, and billed.
    """
    import logging

    endpoint = worker.dispatcher.endpoint
    if endpoint.only is None or not settings.preload:
        return

    async def warm(surface: str) -> None:
        async with worker.dispatcher.pool.lease(endpoint.pick(surface, None)):
            pass

    try:
        asyncio.run(warm(endpoint.only.name))
    except QuartetError as error:
        logging.getLogger("handler").error("not preloaded: %s", error_object(error)["message"])


def _exit_quietly() -> int:
    """Ctrl-C and a reader that goes away are no errors to show a stack for."""
    try:
        return main()
    except KeyboardInterrupt:
        return 130  # what shells expect of SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 1


if __name__ == "__main__":
    sys.exit(_exit_quietly())

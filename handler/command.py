"""``python -m handler``: start the worker, or run one job.

With ``--serve`` or ``SERVE=1`` it answers OpenAI's routes over HTTP. Else, with
``RUNPOD_WEBHOOK_GET_JOB`` set (RunPod sets it), the SDK's loop starts. Otherwise one job is run,
from ``--test_input '<json>'`` or ``test_input.json``: its answer goes to standard output as JSON, a
stream event by event, and the exit status is 0, or 1 with the error object.

``--check`` and ``--warm`` answer no job: see ``handler.check`` and ``handler.warming``.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
import os
import sys
import time
from pathlib import Path
from typing import Any

from handler import logs
from handler.assemble import assemble
from handler.check import before_loading, bucket_fitness, check
from handler.ending import end_process
from handler.entry import Worker
from handler.errors import JobInvalid, wire
from handler.findings import passes, printed
from handler.settings.foreign import notes
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from handler.wire import encode
from models.device.threads import share_cores
from models.environ import tidy
from models.errors import QuartetError

_TEST_INPUT = Path("test_input.json")


def run() -> int:
    """Run the command line's words; returns the exit status."""
    try:
        return _run()
    except KeyboardInterrupt:
        return 130  # what shells expect of SIGINT
    except BrokenPipeError:  # whoever reads has gone away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at exit
        return 1


def _run() -> int:
    start = time.monotonic()
    tidy(os.environ, Settings.names())
    share_cores(os.environ)
    arguments = _arguments()
    environment = {**os.environ, **arguments.variables}
    if arguments.check:
        found = check(environment)
        print(printed(found, as_json=arguments.json))
        return 0 if passes(found) else 1
    try:
        settings = Settings.from_env(environment)
        # The SDK reads it at its import, and knows fewer words for a level than people do.
        os.environ["RUNPOD_LOG_LEVEL"] = settings.log_level
        logs.configure(settings.log_level, as_json="RUNPOD_ENDPOINT_ID" in os.environ)
        for note in notes(environment):
            logging.getLogger(__name__).warning("%s", note)
        worker = assemble(settings)
        if arguments.warm:
            before_loading(settings, worker)
            return asyncio.run(_warm(worker, settings))
        if _serves(worker, settings, start):
            return 0
    except (SettingsError, QuartetError) as error:
        print(f"quartet: {error}", file=sys.stderr)
        return 1
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # JSON is, whatever the terminal's locale says
    status = asyncio.run(_run_once(worker, arguments.test_input))
    if worker.lost.is_set():
        end_process(status)
    return status


def _serves(worker: Worker, settings: Settings, start: float) -> bool:
    """Answer jobs until the worker is stopped; False where nothing says from where they come."""
    queued = "RUNPOD_WEBHOOK_GET_JOB" in os.environ
    if settings.preload:
        worker.prefetch()  # beside the checks: on a GPU they import torch
    if settings.serve or queued:
        before_loading(settings, worker)
    if settings.serve:
        from handler.doors.http import serve

        serve.run(worker, settings, on_runpod="RUNPOD_POD_ID" in os.environ)
    elif queued:
        from handler.doors import queue

        bucket = [bucket_fitness(worker)] if settings.check_bucket else []
        queue.run(worker, settings, start, bucket)
    return settings.serve or queued


async def _warm(worker: Worker, settings: Settings) -> int:
    """Warm the models and print a line for each; returns the exit status."""
    from handler.warming import warmed

    async for line in warmed(worker, settings):
        print(line, flush=True)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m handler",
        description="Run one job, or on RunPod start the worker, or serve OpenAI's routes.",
    )
    parser.add_argument(
        "--test_input",
        metavar="JSON",
        help="the job, or @FILE to read it from a file; default: @test_input.json",
    )
    parser.add_argument(
        "--serve", action="store_true", help="answer OpenAI's routes over HTTP, with no queue"
    )
    parser.add_argument("--port", help="where --serve listens; default: PORT, else 8000")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--check", action="store_true", help="say whether this endpoint can start, and end"
    )
    instead.add_argument(
        "--warm",
        action="store_true",
        help="load and rehearse the models, so that what is compiled is kept, and end",
    )
    parser.add_argument("--json", action="store_true", help="with --check: one JSON object")
    arguments = parser.parse_args()
    if arguments.port is not None and not arguments.serve and not os.environ.get("SERVE"):
        parser.error("--port goes with --serve")
    arguments.variables = {"SERVE": "1"} if arguments.serve else {}
    if arguments.port is not None:
        arguments.variables["PORT"] = arguments.port
    return arguments


# One job on this machine ------------------------------------------------------------------------


async def _run_once(worker: Worker, text: str | None) -> int:
    try:
        raw = _read(text)
    except QuartetError as error:
        return _print_error(wire(error))
    job = worker.accept(raw)
    if not job.streams:
        return _print(await worker.answer(job))
    status = 0
    async for event in worker.stream(job):
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
        print(encode(output).decode(), flush=True)
    return 0


def _print_error(output: dict[str, Any]) -> int:
    print(json.dumps({"error": json.loads(output["error"])}), flush=True)
    return 1

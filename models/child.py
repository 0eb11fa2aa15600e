"""Run this project's modules in child processes, which are killed when their work is cancelled.

A process can be killed when it takes too long, and its crash does not end the worker.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

_ROOT = str(Path(__file__).parents[1])
# -I: Python searches neither PYTHONPATH nor the working directory, only installed packages.
_RUN = (
    "import runpy, sys; sys.path.insert(0, sys.argv.pop(1)); "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__')"
)


def command(module: str, *arguments: str) -> tuple[str, ...]:
    """Return the command that runs a module, such as ``models.transcribe.audio.decoding``."""
    return (sys.executable, "-I", "-c", _RUN, _ROOT, module, *arguments)


@asynccontextmanager
async def running(
    module: str, *arguments: str, **pipes: Any
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a module for as long as the block lasts; leaving the block kills the process.

    Args:
        module: the module's dotted name.
        arguments: its command line.
        pipes: ``stdin``, ``stdout``, ``stderr`` and ``pass_fds``, as for asyncio's subprocesses.
    """
    process = await asyncio.create_subprocess_exec(*command(module, *arguments), **pipes)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())


@asynccontextmanager
async def spooled(
    module: str, *arguments: str, timeout_s: float
) -> AsyncIterator[tuple[IO[bytes], Any]]:
    """Run a module to its end; lend what it has written.

    It writes to two unnamed files: however either process ends, their space on the disk is freed.
    Cancelling the caller kills the process.

    Args:
        module: the module's dotted name. It writes to its standard output, and a report as JSON to
            the descriptor that its last argument names.
        arguments: the rest of its command line.
        timeout_s: how long it may take.

    Yields:
        The output, read from its beginning, and the report; None if the process has failed.

    Raises:
        TimeoutError: it takes too long.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as report:
        work = running(
            module,
            *arguments,
            str(report.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(report.fileno(),),
        )
        async with work as process, asyncio.timeout(timeout_s):
            status = await process.wait()
        output.seek(0)
        report.seek(0)
        content = report.read()
        yield output, json.loads(content) if status == 0 and content else None

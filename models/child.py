"""Run this project's modules in child processes, which are killed when their work is cancelled.

A process can be killed when it takes too long, and its crash does not end the worker.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

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

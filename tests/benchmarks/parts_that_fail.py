"""Parts of a benchmark that end badly, each in its own way."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from benchmarks.gpu.outcomes import Figure

FIRST = Figure("the first", 2.0, "s")


def well(run):
    yield FIRST
    yield Figure("all", run.limits.flops, "operations", 0.5, "arithmetic")


def raises(run):
    yield FIRST
    raise MemoryError("CUDA out of memory.\nTried to allocate")


def crashes(run):
    yield FIRST
    os.kill(os.getpid(), signal.SIGSEGV)
    yield FIRST


def leaves(run):
    yield FIRST
    raise SystemExit(7)


def hangs(run):
    child = subprocess.Popen(["sleep", "600"])
    yield Figure("child", child.pid, "pid")
    time.sleep(600)


def litters(run):
    (run.folder / "weights").write_bytes(bytes(1000))
    yield Figure(str(run.folder), 1.0, "s")

"""Memory that the C library keeps is released once the process has grown by too much."""

from __future__ import annotations

import subprocess
import sys

import pytest

from models.device.memory import Surplus, resident_bytes
from tests.conftest import ROOT

SCATTERED = """
import ctypes, sys
from models.device.memory import Surplus, keep_freed, resident_bytes
if not keep_freed():
    sys.exit("no mallopt")
surplus = Surplus(most_bytes=1 << 25, pause_s=0) if sys.argv[1] == "looks" else None
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
begin, size = resident_bytes(), 1 << 20
if surplus:
    surplus.look()
run, stays = [], []
for _ in range(300):  # a small block that stays behind each large one
    run.append(libc.malloc(size))
    ctypes.memset(run[-1], 1, size)
    stays.append(libc.malloc(30_000))
for block in run:
    libc.free(block)
if surplus:
    surplus.look()
print((resident_bytes() - begin) >> 20)
"""


def grown_mb(how: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", SCATTERED, how], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


@pytest.mark.skipif(not resident_bytes(), reason="the system does not say")
def test_what_lies_between_blocks_that_stay_is_given_back():
    without, looked = grown_mb("not"), grown_mb("looks")
    assert without > 250, "nothing to give back: the test shows nothing"
    assert looked < 80


def test_what_runs_need_each_time_is_kept():
    """A release, then the memory of the next runs, which is the usual from then on."""
    resident, releases = [100, 100, 165, 140, 140, 203, 100], []
    seen = iter(resident)
    surplus = Surplus(64, lambda: next(seen), lambda: releases.append(True), pause_s=0)
    counts = []
    for _ in resident:
        surplus.look()
        counts.append(len(releases))
    assert counts == [0, 0, 1, 1, 1, 1, 1]


def test_it_does_not_look_after_each_run():
    looks = []
    surplus = Surplus(64, lambda: looks.append(True) or 0, lambda: None, pause_s=60)
    for _ in range(100):
        surplus.look()
    assert looks == []

"""What is freed is kept for the next run, and given back when it is asked for."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the C library is another one"
)
SCRIPT = """
import resource, sys, threading
from models.device.memory import free_memory, keep_freed

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

def runs():
    bytearray(100 << 20)
    before = faults()
    for _ in range(5):
        bytearray(100 << 20)
    print(faults() - before)
    kept = resident()
    free_memory()
    print(kept - resident())

if sys.argv[1] == "keep":
    assert keep_freed()
thread = threading.Thread(target=runs)
thread.start()
thread.join()
"""


def measured(how: str) -> tuple[int, int]:
    """Page faults of five times 100 MiB, and the bytes given back after them; in a new process."""
    command = [sys.executable, "-c", SCRIPT, how]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    faults, returned = map(int, done.stdout.split())
    return faults, returned


def test_what_is_kept_comes_without_page_faults_and_can_be_given_back():
    kept_faults, kept_returned = measured("keep")
    faults, returned = measured("leave")
    assert 5 * kept_faults < faults
    assert kept_returned > 90 << 20
    assert returned < 10 << 20

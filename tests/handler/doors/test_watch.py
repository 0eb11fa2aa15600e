"""The process watched: an event loop that stands still, an end that does not wait."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from handler.doors.watch import LoopWatch
from tests.conftest import ROOT


def hold_everything_up() -> None:
    time.sleep(0.8)


def test_an_event_loop_that_stands_still_is_logged_with_what_holds_it(caplog):
    async def work() -> None:
        with LoopWatch(still_s=0.2, look_s=0.05):
            await asyncio.sleep(0.3)
            hold_everything_up()
            await asyncio.sleep(0.2)

    asyncio.run(work())
    still, on = (record.getMessage() for record in caplog.records)
    assert still.startswith("the event loop stands still in ")
    innermost = still.partition(" stands still in ")[2].partition(" < ")[0]
    assert innermost.endswith("hold_everything_up")
    assert "test_watch.py" in innermost
    assert on.startswith("the event loop goes on after ")


def test_a_loop_that_is_busy_with_many_short_things_is_well(caplog):
    async def work() -> None:
        end = time.monotonic() + 0.6
        with LoopWatch(still_s=0.2, look_s=0.02):
            while time.monotonic() < end:
                time.sleep(0.01)
                await asyncio.sleep(0)

    asyncio.run(work())
    assert not caplog.records


@pytest.mark.parametrize("how", ["ending.end_process(3)", "sys.exit(3)"])
def test_a_thread_that_never_comes_back_does_not_hold_up_the_end(how):
    code = f"""
import sys, threading
from concurrent.futures import ThreadPoolExecutor
from handler import ending
ThreadPoolExecutor(1).submit(threading.Event().wait)
print("said")
{how}
"""
    command = [sys.executable, "-c", code]
    if how.startswith("sys"):  # why it is needed: the interpreter waits for the thread
        with pytest.raises(subprocess.TimeoutExpired):
            subprocess.run(command, cwd=ROOT, capture_output=True, timeout=3, check=False)
        return
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (3, "said\n")

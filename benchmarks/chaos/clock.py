"""A wall clock that is wrong by as much as the control file says; the monotonic one is right.

What reads the time through Python is shifted: ``time`` and ``datetime``. libfaketime would shift
libraries in C as well, but its ``FAKETIME_DONT_FAKE_MONOTONIC`` breaks ``time.sleep`` since Python
3.11 (``clock_nanosleep`` with an absolute time fails with EINVAL).
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import time
from collections.abc import Callable
from typing import Any

from benchmarks.chaos.control import Control


def shift(control: Control) -> None:
    """Let this process' wall clock follow the control file."""
    real, real_ns = time.time, time.time_ns
    read_clock = time.clock_gettime

    def wrong_s() -> float:
        return float(control.read().get("clock_s", 0.0))

    def now() -> float:
        return real() + wrong_s()

    def clock_gettime(clock: int) -> float:
        return read_clock(clock) + (wrong_s() if clock == time.CLOCK_REALTIME else 0.0)

    time.time = now
    time.time_ns = lambda: real_ns() + int(wrong_s() * 1e9)
    time.clock_gettime = clock_gettime
    for name in ("gmtime", "localtime", "ctime"):
        setattr(time, name, _of_now(getattr(time, name), now))
    form = time.strftime
    time.strftime = lambda text, moment=None: form(text, moment or time.localtime())
    _shift_datetime(now)


def _of_now(convert: Callable[[float], Any], now: Callable[[], float]) -> Callable[..., Any]:
    """Return a function of a time, which is now if none is given."""
    return lambda seconds=None: convert(now() if seconds is None else seconds)


def _shift_datetime(now: Callable[[], float]) -> None:
    """Let ``datetime`` and ``date`` read the clock through ``now``.

    The classes stay the same, so that whatever holds them already is shifted as well.
    """
    moments = gc.get_referents(datetime.datetime.__dict__)[0]
    moments["now"] = classmethod(lambda kind, tz=None: kind.fromtimestamp(now(), tz))
    moments["utcnow"] = classmethod(
        lambda kind: kind.fromtimestamp(now(), datetime.UTC).replace(tzinfo=None)
    )
    moments["today"] = classmethod(lambda kind: kind.fromtimestamp(now()))
    days = gc.get_referents(datetime.date.__dict__)[0]
    days["today"] = classmethod(lambda kind: kind.fromtimestamp(now()))
    for kind in (datetime.datetime, datetime.date):
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))

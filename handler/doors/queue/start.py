"""Import the SDK, warm the model, and run in its loop."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING

from handler.doors.queue.masks import mask_addresses
from handler.ending import end_process
from handler.entry import Worker
from handler.errors import error_object
from handler.settings.variables import Settings
from models.device.memory import settle
from models.errors import DeviceLost, DriverTooOld, QuartetError

if TYPE_CHECKING:
    from handler.doors.metrics import Metrics

log = logging.getLogger(__name__)


def run(
    worker: Worker,
    settings: Settings,
    start: float,
    fitness: Sequence[Callable[[], Awaitable[None]]] = (),
) -> None:
    """Warm the model, then take jobs until the platform says stop.

    Args:
        worker: answers.
        settings: concurrency, log level, preload.
        start: when the process began, ``time.monotonic``, for the log.
        fitness: each raises where the worker is unfit for jobs; then the platform is told, and the
            process ends.

    Raises:
        DriverTooOld: nothing can run on this machine.
        DeviceLost: its GPU failed while the model was loaded.
    """
    runpod = import_runpod(settings.log_level)
    from handler.doors.queue.pings import end_with_worker
    from handler.doors.queue.polls import Absence
    from handler.doors.queue.scaler import replace_scaler

    end_with_worker()
    absence = Absence()
    replace_scaler(worker, measuring=partial(_exposed, worker, settings), absence=absence)
    _ask_the_platform_alone()
    for check in fitness:
        runpod.serverless.register_fitness_check(check)
    imported = time.monotonic()
    if settings.preload:
        _preload(worker)
    settle()
    concurrency = settings.concurrency or worker.concurrency
    log.info(
        "ready after %.1f s, %.1f of them for the model, for %d jobs at once",
        (now := time.monotonic()) - start, now - imported, concurrency,
    )  # fmt: skip
    runpod.serverless.start(
        {
            "handler": worker.answer,
            "return_aggregate_stream": True,
            # A constant: when this value changes, the SDK takes no job until all in flight end.
            "concurrency_modifier": lambda _current: concurrency,
        }
    )
    if worker.lost.is_set() or absence.over:
        end_process(1)


@asynccontextmanager
async def _exposed(worker: Worker, settings: Settings) -> AsyncIterator[Metrics | None]:
    """Count jobs, and say so on a port, beside the block; where none is wanted, import nothing."""
    if settings.metrics_port is None:
        yield None
        return
    from handler.doors.metrics import Metrics
    from handler.doors.queue.metrics_port import exposed

    metrics = Metrics(worker.dispatcher.pool)
    async with exposed(metrics, settings.serve_host or "127.0.0.1", settings.metrics_port):
        yield metrics


def import_runpod(log_level: str) -> ModuleType:
    """Import the SDK without what it does to a cold start.

    At import, before 2.0, it asks py-cpuinfo for the processor's name, for a debugger's report that
    is not used here: more than a second, two thirds of the import. An empty answer is one that it
    handles. paramiko is for ``runpod ssh``, on the machine of who rents one.
    """
    stand_ins = {name: ModuleType(name) for name in ("cpuinfo", "paramiko")}
    stand_ins["cpuinfo"].get_cpu_info = dict  # type: ignore[attr-defined]
    real = {name: sys.modules[name] for name in stand_ins if name in sys.modules}
    sys.modules |= stand_ins
    try:
        import runpod
    finally:
        for name in stand_ins:
            del sys.modules[name]
        sys.modules |= real
    mask_addresses()
    # Its default, DEBUG, prints every answer whole.
    runpod.RunPodLogger().level = log_level
    module: ModuleType = runpod
    return module


def _ask_the_platform_alone() -> None:
    """Leave out the SDK's look at the network, which opens a connection to 8.8.8.8.

    Whether there is a network shows when the platform is asked for the first job, a moment later.
    """
    from runpod.serverless.modules import rp_system_fitness

    async def leave_out() -> None:
        """Check nothing."""

    rp_system_fitness._check_network_connectivity = leave_out


def _preload(worker: Worker) -> None:
    """Warm the model that most jobs will ask for, and try it, before the first job is taken.

    A failure is logged and the worker goes on: each job then gets the clear error, where a worker
    that exits would be started again and again, and billed.

    Raises:
        DriverTooOld: no model can run on this machine.
        DeviceLost: its GPU fails.
    """
    try:
        asyncio.run(worker.warm())
    except (DriverTooOld, DeviceLost):
        raise  # no job could be done: the platform is to try another machine
    except QuartetError as error:
        log.error("not preloaded: %s", error_object(error)["message"])

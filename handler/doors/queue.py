"""The worker in the SDK's loop: jobs from the queue, answers to the platform.

The only module that knows the SDK, whose version is pinned; ``tests/system/test_sdk_loop.py``
drives the real one.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from types import ModuleType
from typing import Any

from handler.entry import Worker
from handler.errors import error_object
from handler.settings.variables import Settings
from handler.wire import Encoded
from models.errors import QuartetError

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_REMEMBERED = 1000  # job ids that a late or an early stop may name


def run(worker: Worker, settings: Settings, start: float) -> None:
    """Warm the model, then take jobs until the platform says stop.

    Args:
        worker: answers.
        settings: concurrency, log level, preload.
        start: when the process began, ``time.monotonic``, for the log.
    """
    runpod = import_runpod(settings.log_level)
    _choose_kind_per_job(worker)
    _mend_the_loop()
    _send_as_encoded()
    if settings.preload:
        _preload(worker)
    # What is loaded stays: looking through it again for garbage would halt jobs for a while.
    gc.collect()
    gc.freeze()
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


def import_runpod(log_level: str) -> ModuleType:
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

    async def handle_job(session: Any, config: dict[str, Any], raw: dict[str, Any]) -> None:
        job = worker.read(raw)

        if not worker.wants_stream(job):
            await sdk_handle_job(session, {**config, "handler": lambda _: worker.answer(job)}, raw)
            return

        async def stream(_: object) -> AsyncGenerator[Any, None]:
            async for event in events:
                yield event

        # The SDK leaves a generator open when its job is stopped amid a delivery: the engine would
        # go on until somebody collects the garbage.
        async with aclosing(worker.stream(job)) as events:
            await sdk_handle_job(session, {**config, "handler": stream}, raw)

    rp_scale.handle_job = handle_job


def _send_as_encoded() -> None:
    """Let the SDK send answers that are JSON already, without going through them once more."""
    from runpod.serverless.modules import rp_http

    rp_http.json = _Json


class _Json:
    """What the SDK needs of the ``json`` module to deliver a result."""

    @staticmethod
    def dumps(result: Mapping[str, Any], ensure_ascii: bool) -> bytes:
        """A result of the SDK, ``{"output": …}`` and perhaps more."""
        output, others = result.get("output"), dict(result)
        if not isinstance(output, Encoded):
            return json.dumps(result, ensure_ascii=ensure_ascii).encode()
        del others["output"]
        rest = json.dumps(others, ensure_ascii=ensure_ascii).encode()[1:]
        return b'{"output": ' + output.content + (b", " if others else b"") + rest


def _mend_the_loop() -> None:
    """Close gaps of the SDK's loop, by which jobs are lost.

    At SIGTERM it stops running jobs as soon as its queue is empty, while its last poll for one may
    wait on; what that brings is taken from the platform and never run. And a stop that comes for a
    job that has not started, or overtakes the job itself, is dropped: the job runs for nobody.
    """
    from runpod.serverless.modules import rp_scale

    class Scaler(rp_scale.JobScaler):  # type: ignore[misc]
        """Ends only after the last poll and what it brought; stops what has not started too."""

        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__(config)
            self.jobs_fetcher = _patiently(rp_scale.get_job)
            self._begun: set[str] = set()
            self._ended = _Recent()
            self._stopped_early = _Recent()

        async def get_jobs(self, session: Any) -> None:
            """Take jobs until shutdown, then run those that are left."""
            await super().get_jobs(session)
            await self.run_jobs(session)

        async def stop_job(self, job_id: str) -> bool:
            """Stop a job now, or when it starts; one that has ended needs none."""
            if job_id in self._begun:
                stopped: bool = await super().stop_job(job_id)
                return stopped
            if job_id not in self._ended:
                self._stopped_early.add(job_id)
            return False

        async def handle_job(self, session: Any, job: dict[str, Any]) -> None:
            """Run a job, unless it was stopped before."""
            job_id, task = job["id"], asyncio.current_task()
            self._begun.add(job_id)
            self._ended.discard(job_id)  # it is retried
            if self._stopped_early.discard(job_id) and task is not None:
                task.cancel()  # takes effect inside, where the SDK deals with it
            try:
                await super().handle_job(session, job)
            finally:
                self._begun.discard(job_id)
                self._ended.add(job_id)

    rp_scale.JobScaler = Scaler


class _Recent:
    """The job ids of late, the oldest forgotten."""

    def __init__(self) -> None:
        self._ids: dict[str, None] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._ids

    def add(self, job_id: str) -> None:
        """Remember an id."""
        self._ids[job_id] = None
        if len(self._ids) > _REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def discard(self, job_id: str) -> bool:
        """Forget an id; says whether it was known."""
        return self._ids.pop(job_id, self) is None


def _patiently(fetch: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Pause after a platform that cannot be reached; the SDK asks again at once, and logs."""

    async def fetch_or_pause(session: Any, count: int = 1) -> Any:
        from aiohttp import ClientConnectionError

        try:
            return await fetch(session, count)
        except ClientConnectionError:
            await asyncio.sleep(_PAUSE_S)
            raise

    return fetch_or_pause


def _preload(worker: Worker) -> None:
    """Warm the model that most jobs will ask for, before the first job is taken.

    A failure is logged and the worker goes on: each job then gets the clear error, where a worker
    that exits would be started again and again, and billed.
    """
    try:
        asyncio.run(worker.warm())
    except QuartetError as error:
        log.error("not preloaded: %s", error_object(error)["message"])

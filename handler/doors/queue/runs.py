"""One run of a job in the SDK: from the worker's answer or stream to what is posted."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import (
    AbstractContextManager,
    aclosing,
    nullcontext,
)
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import ClientSession
from runpod.serverless.modules import rp_http, rp_job

from handler.acceptance import Accepted, Answered
from handler.doors.outcome import Outcome
from handler.doors.queue.delivery import Delivery, Post, encoded
from handler.doors.queue.progress import Updates
from handler.doors.queue.sequence import incomplete
from handler.doors.queue.taken import Taken
from handler.entry import Worker
from handler.errors import code_of
from handler.wire import Encoded, encode

if TYPE_CHECKING:  # it would bring Prometheus' library, and few workers behind a queue count
    from handler.doors.metrics import Metrics


class Runs:
    """Runs jobs, and posts what comes of them.

    Args:
        worker: answers.
        delivery: posts.
        update_every_s: the least time between two updates of a job's progress.

    Attributes:
        metrics: counts the jobs; None = nobody counts.
    """

    def __init__(self, worker: Worker, delivery: Delivery, update_every_s: float) -> None:
        self.metrics: Metrics | None = None
        self._worker = worker
        self._delivery = delivery
        self._update_every_s = update_every_s

    async def run(self, session: ClientSession, config: dict[str, Any], taken: Taken) -> None:
        """Let a job that streams run as a generator and every other as a coroutine.

        The SDK decides once, by the kind of ``config["handler"]``; a generator's answer then
        arrives as a list even when it is one object. Its own ``handle_job`` does both kinds.
        """
        worker, job = self._worker, taken.job
        if not job.streams:

            async def answer(_: object) -> Any:
                report = partial(self._report, session, taken)
                async with Updates(report, self._update_every_s) as updates:
                    with self._measured(job) as outcome:
                        output = await worker.answer(job, updates.tell)
                        outcome.code = code_of(output)
                        return output

            await rp_job.handle_job(session, {**config, "handler": answer}, taken)
            return

        async def stream(_: object) -> AsyncGenerator[Any, None]:
            code = "ok"
            with self._measured(job) as outcome:
                async for event in events:
                    if (code := code_of(event)) != "ok":
                        outcome.code = code  # now: the SDK stops at it
                    # Encoded, so that the SDK's log of each event holds its size alone.
                    yield event if code != "ok" else Encoded(encode(taken.number(event)))
                outcome.code = code

        # The SDK leaves a generator open when its job is stopped amid a delivery: the engine would
        # go on until somebody collects the garbage.
        async with aclosing(worker.stream(job, taken.keep)) as events:
            await rp_job.handle_job(session, {**config, "handler": stream}, taken)

    def _measured(self, job: Accepted | Answered) -> AbstractContextManager[Outcome]:
        """Count a job, where somebody counts."""
        if self.metrics is None:
            return nullcontext(Outcome())
        return self.metrics.request(job.route)

    async def send(
        self,
        session: ClientSession,
        data: Mapping[str, Any],
        job: Taken,
        template: str,
        _message: str,
        is_stream: bool = False,
    ) -> None:
        """Deliver, in place of the SDK's own: a chunk is waited for, a result is not.

        A stream ends with a chunk that is lost, and its last event says so. The whole answer
        follows as the result: of a plain job an object, as without a stream.
        """
        if template == rp_http.JOB_DONE_URL and job.whole is not None and "error" not in data:
            data = {**data, "output": job.whole}
        url = f"{template.replace('$ID', job['id'])}&isStream={str(is_stream).lower()}"
        post = Post(session, job["id"], url, encoded(data), job.deadline, job.headers)
        if template == rp_http.JOB_DONE_URL:
            if job.broken and "error" not in data:
                await self._say_incomplete(session, job)
            if job.sequence:
                post = replace(post, headers={**job.headers, "X-Events": str(job.sequence)})
            self._delivery.result(post)
        elif not job.broken:
            number = {"X-Sequence": str(job.sequence - 1)}
            post = replace(post, headers={**job.headers, **number})
            job.broken = not await self._delivery.chunk(post)

    async def _say_incomplete(self, session: ClientSession, job: Taken) -> None:
        """End a stream of which a chunk is lost with an event that says so."""
        job.broken = False  # this one is tried, too
        content = Encoded(encode(job.number(incomplete(as_text=job.as_text))))
        await self.send(session, {"output": content}, job, rp_http.JOB_STREAM_URL, "", True)

    async def _report(self, session: ClientSession, job: Taken, progress: Any) -> None:
        """Say how far a job is, as the SDK's ``progress_update`` would."""
        update = {"status": "IN_PROGRESS", "output": progress}
        url = f"{rp_http.JOB_DONE_URL.replace('$ID', job['id'])}&isStream=false"
        post = Post(session, job["id"], url, encoded(update), job.deadline, job.headers)
        await self._delivery.update(post)

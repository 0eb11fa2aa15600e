"""A job comes in, an answer or an error string goes out: the only place that catches everything.

Two functions for the SDK: ``answer`` returns one output, ``stream`` yields events. Both keep the
worker's own deadline, re-raise cancellation after the work has stopped, and let nothing out that
the platform would drop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from handler.contract.base import Json
from handler.contract.request import Request
from handler.contract.streaming import Whole, sse
from handler.dispatch import Dispatcher, Task
from handler.errors import OutputTooLarge, error_object, wire
from handler.job import Job, parse_job
from handler.limits import Limits
from handler.wire import Encoded, encode
from models.errors import QuartetError
from models.row import Row
from models.stages import line

log = logging.getLogger(__name__)

_END = object()
_ASK_LESS = (
    "Ask for less at once (a smaller n or size, fewer inputs, base64 for numbers), or configure a "
    "bucket."
)
_TIMEOUT_S = 600.0  # the platform's own, for a job that cannot be understood
_MARGIN_OF_SIZE = 0.9  # inputs differ in size


@dataclass(frozen=True)
class Worker:
    """The handler.

    Attributes:
        dispatcher: understands and answers.
        output_limit_bytes: the largest answer, serialised.
        job_timeout_s: the endpoint's execution timeout; None = the model's own.
        rehearses: whether a model that is warmed answers a small job of nobody's before others.
    """

    dispatcher: Dispatcher
    output_limit_bytes: int
    job_timeout_s: float | None = None
    rehearses: bool = False

    def read(self, raw: object) -> object:
        """The job inside the platform's object; what is none stays, and is refused later."""
        with _Caught():
            return _job(raw)
        return raw  # ``answer`` will say what is wrong

    def wants_stream(self, raw: object) -> bool:
        """Whether a job asks for a stream and is for a surface that has one."""
        with _Caught():
            job = _job(raw)
            return job.wants_stream and self.dispatcher.find(job)[1].stream is not None
        return False  # ``answer`` will say what is wrong

    def route(self, raw: object) -> str:
        """The OpenAI route of what a job is for; ``other`` of one that is for nothing."""
        with _Caught():
            return self.dispatcher.find(_job(raw))[1].routes[0]
        return "other"

    @property
    def lost(self) -> asyncio.Event:
        """Set when the device is lost: this worker can answer nothing any more."""
        return self.dispatcher.pool.lost

    @property
    def concurrency(self) -> int:
        """Jobs to take at once: as many as keep the device busy.

        A job that is taken is one that no other worker can have; so no more than that, and as long
        as the model is not loaded what its surface takes at least.
        """
        endpoint = self.dispatcher.endpoint
        least = endpoint.concurrency
        warm = [one.busy for one in self.dispatcher.pool.models()]
        return max(least, *warm) if endpoint.only and warm else least

    def platform_timeout_s(self, raw: object) -> float:
        """How long the platform waits for a job's answer."""
        with _Caught():
            job = _job(raw)
            surface, wanted = self.dispatcher.find(job)[0], job.body.get("model")
            endpoint = self.dispatcher.endpoint.seen_at(job.origin)
            named = isinstance(wanted, str) and wanted != ""
            row = endpoint.pick(surface.name, wanted if named else None)
            return self._timeout_s(job, row)
        return self.job_timeout_s or _TIMEOUT_S

    @property
    def expected(self) -> Row | None:
        """The model that most jobs will ask for, where the endpoint serves one surface."""
        endpoint = self.dispatcher.endpoint
        return None if endpoint.only is None else endpoint.pick(endpoint.only.name, None)

    def prefetch(self) -> None:
        """Begin to read the weights of the model that most jobs will ask for."""
        if (row := self.expected) is not None:
            self.dispatcher.pool.prefetch(row)

    async def warm(self, *, strict: bool = False) -> None:
        """Load the model that most jobs will ask for, and rehearse.

        Args:
            strict: raise where the rehearsal fails; else that is logged.

        Raises:
            QuartetError: it cannot be loaded.
        """
        if (row := self.expected) is not None:
            async with self.dispatcher.pool.lease(row) as borrowed:
                stages = borrowed.warm.start
            if self.rehearses:
                with stages.stage("warm"):
                    await self._rehearse(row, strict=strict)
            log.info("%s: its start took %s", row.slug, line(stages.seconds))

    async def _rehearse(self, row: Row, *, strict: bool = False) -> None:
        """Answer a small job that nobody has sent, so that the first is as fast as the second.

        Kernels are chosen and compiled, memory is taken, modules are imported at first use. That
        it fails is logged: the job that fails so, too, will say why to somebody. With ``strict`` it
        raises QuartetError.
        """
        surface = self.dispatcher.endpoint.only
        rehearsal = None if surface is None else surface.rehearsal(row)
        if rehearsal is None:
            return
        route, body = rehearsal
        with _Caught() as failure:
            job = _job({"id": "rehearsal", "input": {"openai_route": route, "openai_input": body}})
            dispatcher = replace(self.dispatcher, bucket=None)  # nothing of it is kept
            await dispatcher.answer(dispatcher.understand(job))
            return
        message = f"the rehearsal failed: {error_object(failure.error)['message']}"
        if strict:
            raise QuartetError(message) from failure.error
        log.warning(message)

    async def answer(
        self, raw: object, tell: Callable[[Json], None] | None = None
    ) -> Encoded | dict[str, Any]:
        """Answer a job in one piece; an error comes back as ``{"error": "<JSON>"}``.

        ``tell`` hears how far it is.
        """
        start, task = time.monotonic(), None
        with _Caught(lambda: self._stopped(raw, task, start)) as failure:
            job = _job(raw)
            listing = self.dispatcher.listing(job)
            if listing is not None:
                return Encoded(encode(listing))
            task = self.dispatcher.understand(job)
            limits = self._limits(task, start)
            async with limits.hold():
                answer = await self.dispatcher.answer(task, limits.device, tell)
                output = await self._fitting(task, answer)
            self._done(task, start)
            return output
        return self._failed(raw, task, failure.error, start)

    async def stream(
        self, raw: object, keep: Callable[[Encoded], None] | None = None
    ) -> AsyncGenerator[Json, None]:
        """Answer a job event by event; an error is the last event, as ``{"error": "<JSON>"}``.

        On the OpenAI route an error after the first event is told to the client in the stream too.
        ``keep`` gets, after the last event of a plain job, the whole answer, as without a stream.
        """
        start, task, sent_bytes = time.monotonic(), None, 0
        with _Caught(lambda: self._stopped(raw, task, start)) as failure:
            task = self.dispatcher.understand(_job(raw))
            async with aclosing(self._events(task, start)) as events:
                async for event in events:
                    if isinstance(event, Whole):
                        if keep is not None:
                            keep(await self._fitting(task, event.answer))
                        continue
                    sent_bytes += len(encode(event)) + 2
                    if task.job.route is not None:  # the platform keeps a list of them
                        self._check_size(sent_bytes)
                    yield event
            self._done(task, start)
            return
        if task is not None and task.job.route is not None and sent_bytes:
            yield sse({"error": error_object(failure.error)})
        yield self._failed(raw, task, failure.error, start)

    async def _events(self, task: Task, start: float) -> AsyncGenerator[Json, None]:
        """The events of a task, under its deadline.

        The deadline watches each wait for an event, not the consumer between two of them: there it
        would cancel the SDK in the middle of a delivery.
        """
        limits = self._limits(task, start)
        async with aclosing(self.dispatcher.stream(task, limits.device)) as events:
            while True:
                async with limits.hold():
                    event = await anext(events, _END)
                if event is _END:
                    return
                yield event

    def _limits(self, task: Task, start: float) -> Limits:
        return Limits.of(self._timeout_s(task.job, task.row), start)

    def _timeout_s(self, job: Job, row: Row) -> float:
        known = (self.job_timeout_s or row.timeout_s, job.timeout_s)
        return min(one for one in known if one is not None)

    async def _fitting(self, task: Task, output: Json) -> Encoded:
        """The output if the platform delivers it, else a link to it, else an error."""
        content = encode(output)
        if len(content) <= self.output_limit_bytes:
            return Encoded(content)
        bucket = self.dispatcher.bucket_of(task.job)
        if bucket is None:
            raise self._too_large(len(content), self._advice(task.request, len(content)))
        url = await bucket.store(f"{task.job.id}/output.json", content, "application/json")
        stored = {"object": "stored_output", "url": url, "bytes": len(content)}
        return Encoded(encode(stored))

    def _advice(self, request: Request, size_bytes: int) -> str:
        fitting = int(request.parts * _MARGIN_OF_SIZE * self.output_limit_bytes / size_bytes)
        if request.parts == 1 or not fitting:
            return _ASK_LESS
        return f"It answers {request.parts} inputs: send at most {fitting} at once. {_ASK_LESS}"

    def _check_size(self, size_bytes: int) -> None:
        if size_bytes > self.output_limit_bytes:
            raise self._too_large(size_bytes, "Ask for a shorter answer.")

    def _too_large(self, size_bytes: int, advice: str) -> OutputTooLarge:
        return OutputTooLarge(
            f"The answer has {size_bytes} bytes or more and the platform delivers at most "
            f"{self.output_limit_bytes}. {advice}"
        )

    def _done(self, task: Task, start: float) -> None:
        log.info(
            "%s done by %s in %.0f ms", task.surface.name, task.row.slug, _since_ms(start),
            extra={"job_id": task.job.id},
        )  # fmt: skip

    def _stopped(self, raw: Any, task: Task | None, start: float) -> None:
        """Note the end of a job that nobody waits for any more."""
        log.info(
            "%s was stopped after %.0f ms", task.surface.name if task else "job", _since_ms(start),
            extra={"job_id": _id(raw)},
        )  # fmt: skip

    def _failed(
        self, raw: Any, task: Task | None, error: Exception, start: float
    ) -> dict[str, str | bool]:
        job_id = _id(raw)
        surface = task.surface.name if task else "job"
        code = error_object(error)["code"]
        known = isinstance(error, QuartetError)
        log.log(
            logging.INFO if known else logging.ERROR,
            "%s failed with %s in %.0f ms", surface, code, _since_ms(start),
            extra={"job_id": job_id}, exc_info=None if known else error,
        )  # fmt: skip
        return wire(error)


class _Caught:
    """Holds what goes wrong in its block, whatever it is; after it, it is there to be told.

    The one place that catches everything: a job must be answered, also after a bug of ours.

    Args:
        stopped: called where the block is cancelled, or its reader leaves; either goes on.
    """

    error: Exception

    def __init__(self, stopped: Callable[[], None] = lambda: None) -> None:
        self._stopped = stopped

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            self._stopped()
        if not isinstance(error, Exception):
            return False
        self.error = error
        return True


def _id(raw: object) -> object:
    """The platform's id of a job, for the log."""
    if isinstance(raw, Job):
        return raw.id
    return raw.get("id") if isinstance(raw, dict) else None


def _job(raw: object) -> Job:
    """The platform's object, or a job that another door has understood."""
    return raw if isinstance(raw, Job) else parse_job(raw)


def _since_ms(start: float) -> float:
    return (time.monotonic() - start) * 1000

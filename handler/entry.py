"""The worker's answers: a job comes in, an answer or an error string goes out.

Two functions for the SDK: ``answer`` returns one output, ``stream`` yields events. Both keep the
worker's own deadline, re-raise cancellation after the work has stopped, and let nothing out that
the platform would drop.
"""

from __future__ import annotations

import base64
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from handler.acceptance import Accepted, Answered
from handler.caught import Caught
from handler.contract.base import Json, Operation, Surface
from handler.contract.request import Request
from handler.contract.streaming import Whole, sse
from handler.errors import OutputTooLarge, error_object, wire
from handler.life import Life
from handler.limits import Limits
from handler.wire import Encoded, File, as_it_is, encode
from models.errors import QuartetError, let_go

log = logging.getLogger(__name__)

_END = object()
_ASK_LESS = (
    "Ask for less at once (a smaller n or size, fewer inputs, base64 for numbers), or configure a "
    "bucket."
)
_MARGIN_OF_SIZE = 0.9  # inputs differ in size


@dataclass(frozen=True, kw_only=True)
class Worker(Life):
    """The handler.

    Attributes:
        output_limit_bytes: the largest answer, serialised.
    """

    output_limit_bytes: int

    def accept(
        self, raw: object, target: tuple[Surface, Operation] | None = None
    ) -> Accepted | Answered:
        """Accept a job, once; what is accepted already stays as it is. See ``Reception.accept``."""
        if isinstance(raw, Accepted | Answered):
            return raw
        return self.reception.accept(raw, target)

    async def answer(
        self,
        raw: object,
        tell: Callable[[Json], None] | None = None,
        *,
        carries_files: bool = False,
    ) -> Encoded | dict[str, Any]:
        """Answer a job in one piece; an error comes back as ``{"error": "<JSON>"}``.

        Args:
            raw: the job.
            tell: hears how far it is.
            carries_files: whether the door delivers texts and files as they are, and not as JSON.
        """
        start, accepted = time.monotonic(), self.accept(raw)
        with Caught(lambda: self._stopped(accepted, start)) as failure:
            if isinstance(accepted, Answered):
                return Encoded(encode(_earlier_answer(accepted)))
            limits = Limits.of(accepted.timeout_s, start)
            async with limits.hold():
                answer = await self.dispatcher.answer(
                    accepted, limits.device, tell, carries_files=carries_files
                )
                output = as_it_is(answer) if carries_files else None
                output = self._small(output) if output else await self._fitting(accepted, answer)
            self._done(accepted, start)
            return output
        return self._failed(accepted, failure.error, start)

    async def stream(
        self,
        raw: object,
        keep: Callable[[Encoded], None] | None = None,
        *,
        carries_files: bool = False,
    ) -> AsyncGenerator[Json, None]:
        """Answer a job event by event; an error is the last event, as ``{"error": "<JSON>"}``.

        On the OpenAI route an error after the first event is told to the client in the stream too.
        ``keep`` gets, after the last event of a plain job, the whole answer, as without a stream.
        A door that carries files may get the pieces of one, each ``Encoded``.
        """
        start, accepted, sent_bytes = time.monotonic(), self.accept(raw), 0
        with Caught(lambda: self._stopped(accepted, start)) as failure:
            if isinstance(accepted, Answered):
                yield _earlier_answer(accepted)
                return
            async with aclosing(self._events(accepted, start, carries_files)) as events:
                async for event in events:
                    if isinstance(event, Whole):
                        if keep is not None:
                            keep(await self._fitting(accepted, event.answer))
                        continue
                    sent_bytes += len(encode(event)) + 2
                    if accepted.job.route is not None:  # the platform keeps a list of them
                        self._check_size(sent_bytes)
                    yield event
            self._done(accepted, start)
            return
        if isinstance(accepted, Accepted) and accepted.job.route is not None and sent_bytes:
            told = accepted.operation.refusal(error_object(failure.error))
            yield sse(told, named="type" in told)
        yield self._failed(accepted, failure.error, start)

    async def _events(
        self, accepted: Accepted, start: float, carries_files: bool
    ) -> AsyncGenerator[Json, None]:
        """The events of a task, under its deadline.

        The deadline watches each wait for an event, not the consumer between two of them: there it
        would cancel the SDK in the middle of a delivery.
        """
        limits = Limits.of(accepted.timeout_s, start)
        stream = self.dispatcher.stream(accepted, limits.device, carries_files=carries_files)
        async with aclosing(stream) as events:
            while True:
                async with limits.hold():
                    event = await anext(events, _END)
                if event is _END:
                    return
                yield event

    async def _fitting(self, accepted: Accepted, output: Json) -> Encoded:
        """The output if the platform delivers it, else a link to it, else an error."""
        if isinstance(output, File):
            output = await self._object_of(accepted, output)
        content = encode(output)
        if len(content) <= self.output_limit_bytes:
            return Encoded(content)
        bucket = self.dispatcher.bucket_of(accepted.job)
        if bucket is None:
            raise self._too_large(len(content), self._advice(accepted.request, len(content)))
        url = await bucket.store(f"{accepted.job.id}/output.json", content, "application/json")
        stored = {"object": "stored_output", "url": url, "bytes": len(content)}
        return Encoded(encode(stored))

    async def _object_of(self, accepted: Accepted, file: File) -> Json:
        """A file as an object: with its address in the bucket, else with its content."""
        bucket = self.dispatcher.bucket_of(accepted.job)
        if bucket is None:
            return {**file.about, "b64_json": base64.b64encode(file.content).decode()}
        place = f"{accepted.job.id}/{file.name}"
        return {**file.about, "url": await bucket.store(place, file.content, file.media_type)}

    def _small(self, output: Encoded) -> Encoded:
        """The output, where the door delivers one of its size."""
        self._check_size(len(output.content))
        return output

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

    def _done(self, accepted: Accepted, start: float) -> None:
        log.info(
            "%s done by %s in %.0f ms", accepted.surface.name, accepted.row.slug, _since_ms(start),
            extra={"job_id": accepted.job.id},
        )  # fmt: skip

    def _stopped(self, accepted: Accepted | Answered, start: float) -> None:
        """Note the end of a job that nobody waits for any more."""
        log.info(
            "%s was stopped after %.0f ms", _surface(accepted), _since_ms(start),
            extra={"job_id": accepted.id},
        )  # fmt: skip

    def _failed(
        self, accepted: Accepted | Answered, error: Exception, start: float
    ) -> dict[str, str | bool]:
        code = error_object(error)["code"]
        known = isinstance(error, QuartetError)
        log.log(
            logging.INFO if known else logging.ERROR,
            "%s failed with %s in %.0f ms", _surface(accepted), code, _since_ms(start),
            extra={"job_id": accepted.id}, exc_info=None if known else error,
        )  # fmt: skip
        let_go(error)
        return wire(error)


def _earlier_answer(accepted: Answered) -> Json:
    """The answer that a job has had since it came; raises the refusal of one that was refused."""
    if isinstance(accepted.answer, Exception):
        raise accepted.answer
    return accepted.answer


def _surface(accepted: Accepted | Answered) -> str:
    """Return a job's name in the log: its surface, where it is understood."""
    return accepted.surface.name if isinstance(accepted, Accepted) else "job"


def _since_ms(start: float) -> float:
    return (time.monotonic() - start) * 1000

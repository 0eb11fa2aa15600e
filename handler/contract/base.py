"""The parts of a surface's contract.

A surface is the marks by which its body is known and its operations: a request type each, and the
functions that answer it. ``handler.dispatch`` reads nothing else of a surface.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass, field
from typing import Any

from handler.contract.model_fields import offered
from handler.contract.request import Request
from handler.contract.unsupported import is_left_out
from handler.errors import ErrorObject
from handler.media.bucket import Bucket
from handler.media.files import MediaDoor
from handler.media.loras import LoraShelf
from models.row import Row
from models.warm.model import Borrowed
from models.work import Progress

Json = Any  # what ``json`` can express; checked where it leaves, in handler.wire


def _untold(_: Json) -> None:
    """Tell nobody how far a job is."""


def _no_details(_: Row) -> Mapping[str, Json]:
    """Return nothing more to say of a model."""
    return {}


def _openai_refusal(error: ErrorObject) -> dict[str, Any]:
    """Return the body of OpenAI's error response."""
    return {"error": error}


def _nothing(_: Row) -> Json:
    """Return no warm-up request."""
    return None


@dataclass(frozen=True)
class Helper:
    """A model that serves beside the one that a job is for.

    Attributes:
        row: the model.
        run: answers one request of its engine's type.
    """

    row: Row
    run: Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class Call:
    """One validated request and all that its surface may use to answer it.

    Attributes:
        job_id: the platform's id of the job.
        request: of the surface's own request type.
        row: the model that was picked.
        lease: lends the warm model: ``async with call.lease() as model``.
        door: fetches the client's files into a folder that goes away with the job.
        bucket: where results can be stored, None without one.
        route: the OpenAI route that the job came by, None for a plain job.
        inline_limit_bytes: how large media in an answer should be at most, as base64, where the
            client leaves their form to us.
        output_limit_bytes: how large an answer can be; None = however large, a bucket takes it.
        event_limit_bytes: how large an event of a stream can be; None = however large.
        tell: tells the platform how far it is, where there is a way: ``{"done", "total", "unit"}``.
        loras: the adapters that a request may name.
        carries_files: whether the door delivers files as they are.
        helpers: models that serve beside it, by what they do: ``safety`` of pictures, ``speakers``
            of a recording. One that the worker does not have is left out.
    """

    job_id: str
    request: Any
    row: Row
    lease: Callable[[], AbstractAsyncContextManager[Borrowed]]
    door: MediaDoor
    bucket: Bucket | None
    route: str | None = None
    inline_limit_bytes: int | None = None
    output_limit_bytes: int | None = None
    event_limit_bytes: int | None = None
    tell: Callable[[Json], None] = _untold
    loras: LoraShelf | None = None
    carries_files: bool = False
    helpers: Mapping[str, Helper] = field(default_factory=dict)

    @property
    def adapter(self) -> str | None:
        """The adapter of the model that the request chooses, None without one."""
        return self.row.adapter(self.request.model)

    @property
    def model(self) -> str:
        """The model that answers, by the name that the request chose."""
        return self.row.named(self.request.model)

    def default(self, name: str, fallback: Any = None) -> Any:
        """The model's default for a field that the request leaves out."""
        return self.row.defaults.get(name, fallback)


async def run_told(call: Call, request: Any) -> Any:
    """The engine's answer to one request; the platform is told how far it is."""
    done: dict[int, float] = {}
    answer = None
    async with call.lease() as model, aclosing(model.stream(request)) as events:
        async for event in events:
            if isinstance(event, Progress):
                done[event.part] = event.done
                so_far = round(min(sum(done.values()), event.total), 2)
                call.tell({"done": so_far, "total": event.total, "unit": event.unit})
            answer = event
    return answer


@dataclass(frozen=True)
class Operation:
    """One thing that a surface does.

    Attributes:
        request: the type that validates its body.
        routes: OpenAI routes that lead here.
        answer: answers one call, in OpenAI's shape.
        stream: yields the events of a call whose request has ``stream``; None = cannot stream.
        marks: fields whose presence says that a body is for this operation.
        within: fields whose presence says that a body without a route, of this surface, is for this
            operation; for another surface they may mean something else.
        task: what a model must be able to do, in the catalog's words; None = any of the surface's.
        refused: why its routes are known and not answered; None = they are.
        rehearsal: the body of a small job for a model, run before the first one that counts, so
            that nothing is left that is made at first use; None = there is nothing.
        refusal: makes the body of an error response over HTTP; an event that is one has its type.
    """

    request: type[Request]
    routes: tuple[str, ...]
    answer: Callable[[Call], Awaitable[Json]]
    stream: Callable[[Call], AsyncGenerator[Json, None]] | None = None
    marks: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    task: str | None = None
    refused: str | None = None
    rehearsal: Callable[[Row], Json] = _nothing
    refusal: Callable[[ErrorObject], dict[str, Any]] = _openai_refusal


@dataclass(frozen=True)
class Surface:
    """One surface of the worker.

    Attributes:
        name: as in ``SURFACE`` and in a job's explicit ``surface`` key.
        operations: what it does; a job without an OpenAI route and without a mark is for the first.
        companions: marks of other surfaces that are ordinary fields here, and so mean nothing.
        generic: OpenAI's own models, by which its clients mean whatever this endpoint serves; lower
            case, without a snapshot's date.
        texts: fields one of which is a text beside a mark; empty = a mark says enough.
        details: what ``/v1/models/<slug>`` says of a model besides.
        concurrency: how many jobs the worker takes at once at least: one for the device and one in
            the making, and of jobs of milliseconds as many as come in one round trip.
    """

    name: str
    operations: tuple[Operation, ...]
    concurrency: int
    companions: frozenset[str] = field(default_factory=frozenset)
    generic: frozenset[str] = field(default_factory=frozenset)
    texts: frozenset[str] = field(default_factory=frozenset)
    details: Callable[[Row], Mapping[str, Json]] = _no_details

    def is_generic(self, model: str) -> bool:
        """Whether a model's name means the one that this endpoint serves."""
        return re.sub(r"-\d{4}-\d{2}-\d{2}$", "", model.lower()) in self.generic

    def marks_in(self, body: Mapping[str, Any], present: frozenset[str]) -> frozenset[str]:
        """Those of the fields that are present which say that a body is for this surface."""
        if self.texts and not any(isinstance(body.get(name), str) for name in self.texts):
            return frozenset()
        return present & frozenset(self.marks)

    @property
    def routes(self) -> tuple[str, ...]:
        """Every OpenAI route that is answered here."""
        answered = (operation for operation in self.operations if operation.refused is None)
        return tuple(route for operation in answered for route in operation.routes)

    @property
    def marks(self) -> tuple[str, ...]:
        """Fields whose presence says that a body is for this surface."""
        return tuple(mark for operation in self.operations for mark in operation.marks)

    def marked(self, body: Mapping[str, Any]) -> Operation:
        """The operation that a body without a route is for."""
        known = {mark for each in self.operations for mark in (*each.marks, *each.within)}
        given = {mark for mark in known if body.get(mark) is not None}
        present = {mark for mark in given if not is_left_out(body[mark])} or given
        marked = (
            operation
            for operation in self.operations
            if present & {*operation.marks, *operation.within}
        )
        return next(marked, self.operations[0])

    def rehearsal(self, row: Row) -> tuple[str, Json] | None:
        """The OpenAI route and the body of a small job for a model; see ``Operation``."""
        for operation in sorted(self.operations, key=lambda each: each.task not in row.tasks):
            body = (
                operation.rehearsal(row)
                if operation.task is None or operation.task in row.tasks
                else None
            )
            if body is not None:
                return operation.routes[0], body
        return None

    def offered(self, row: Row) -> Json:
        """The fields that a model honours, of what it does first here; see ``offered``."""
        able = (
            operation
            for operation in self.operations
            if operation.task is None or operation.task in row.tasks
        )
        return offered(next(able, self.operations[0]).request, row)

    def operation(self, route: str) -> Operation | None:
        """The operation behind an OpenAI route, None where it leads elsewhere."""
        wanted = plain_route(route)
        for operation in self.operations:
            if wanted in map(plain_route, operation.routes):
                return operation
        return None


def plain_route(route: str) -> str:
    """An OpenAI route without query and version: ``/embeddings``."""
    return "/" + route.split("?")[0].strip("/").removeprefix("v1/")


def with_notice(answer: dict[str, Any], *rows: Row | None) -> dict[str, Any]:
    """Add the extension ``notice`` when a model is a stand-in."""
    notices = [row.notice for row in rows if row is not None and row.notice is not None]
    return {**answer, "notice": " ".join(notices)} if notices else answer

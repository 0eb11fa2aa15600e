"""A job is accepted once, at the door.

What comes of it says all that a door needs: whether it streams, how long it may take, which route
its metrics count for. A job that is refused has its answer already.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from handler.caught import Caught
from handler.contract.base import Json, Operation, Surface, plain_route
from handler.errors import RouteUnknown
from handler.job import Job, parse_job
from handler.routing import find
from handler.settings.endpoint import Endpoint
from models.errors import InvalidValue, ModelNotFound, ModelUnsuited
from models.row import Row

_TIMEOUT_S = 600.0  # the platform's own, for a job that is for no model
_OTHER = "other"  # the route of a job that is for none
_STARTED = int(time.time())


@dataclass(frozen=True)
class Accepted:
    """A job that is understood.

    Attributes:
        job: the job.
        surface: what it is for.
        operation: what it asks of the surface.
        request: the body, validated, of the operation's request type.
        row: the model that answers.
        timeout_s: how long the platform waits for the answer.
    """

    job: Job
    surface: Surface
    operation: Operation
    request: Any
    row: Row
    timeout_s: float

    @property
    def id(self) -> str:
        """The platform's id of the job."""
        return self.job.id

    @property
    def streams(self) -> bool:
        """Whether it asks for a stream, of an operation that has one."""
        asked = self.job.wants_stream or self.request.asks_for_stream
        return asked and self.operation.stream is not None

    @property
    def route(self) -> str:
        """The OpenAI route of what it asks."""
        return self.operation.routes[0]


@dataclass(frozen=True)
class Answered:
    """A job whose answer is known when it comes: the list of models, or a refusal.

    Attributes:
        id: the platform's id of the job, None where it has none.
        answer: the list, or the error that is the answer.
        timeout_s: how long the platform waits for it.
        route: the OpenAI route of what it asks; ``other`` where it asks for nothing.
    """

    id: object
    answer: Json | Exception
    timeout_s: float
    route: str = _OTHER
    streams: bool = False


@dataclass(frozen=True)
class Reception:
    """Accepts jobs.

    Attributes:
        endpoint: what is served.
        job_timeout_s: the endpoint's execution timeout; None = the model's own.
    """

    endpoint: Endpoint
    job_timeout_s: float | None = None

    def accept(
        self, raw: object, target: tuple[Surface, Operation] | None = None
    ) -> Accepted | Answered:
        """Understand a job; nothing is raised.

        Args:
            raw: the platform's object, or a job that the HTTP door has made.
            target: what it is for, where its door knows.
        """
        route, timeout_s = _OTHER, self.job_timeout_s or _TIMEOUT_S
        with Caught() as failure:
            job = raw if isinstance(raw, Job) else parse_job(raw)
            endpoint = self.endpoint.seen_at(job.origin)
            if (listing := _listing(job, endpoint)) is not None:
                return Answered(job.id, listing, timeout_s)
            surface, operation = target or find(job, endpoint)
            route = operation.routes[0]
            if operation.refused is not None:
                raise RouteUnknown(operation.refused, param="openai_route")
            row = _named(job, surface, operation, endpoint)
            timeout_s = self._timeout_s(job, row)
            with bounded_depth():
                request = operation.request.parse(job.body)
            self._see_that_it_is_able(row, surface, operation)
            return Accepted(job, surface, operation, request, row, timeout_s)
        return Answered(_id(raw), failure.error, timeout_s, route)

    def _timeout_s(self, job: Job, row: Row) -> float:
        known = (self.job_timeout_s or row.timeout_s, job.timeout_s)
        return min(seconds for seconds in known if seconds is not None)

    def _see_that_it_is_able(self, row: Row, surface: Surface, operation: Operation) -> None:
        """Refuse a model that does not do what the operation asks.

        Raises:
            ModelUnsuited: it does not.
        """
        if operation.task is None or operation.task in row.tasks:
            return
        held = self.endpoint.catalog.of(surface.name).rows
        able = [other.slug for other in held if operation.task in other.tasks]
        raise ModelUnsuited(row.slug, operation.task, able)


def _id(raw: object) -> object:
    """The platform's id of a job, for the log."""
    if isinstance(raw, Job):
        return raw.id
    return raw.get("id") if isinstance(raw, dict) else None


@contextmanager
def bounded_depth() -> Iterator[None]:
    """A body may be nested deeper than what reads and renders it can follow."""
    try:
        yield
    except RecursionError:
        raise InvalidValue("The request is nested too deeply.") from None


def _named(job: Job, surface: Surface, operation: Operation, endpoint: Endpoint) -> Row:
    """The row of the model that the body names, before anything else of it is looked at.

    A request for a model of another endpoint is told so, whatever else is wrong with it.

    Raises:
        ModelNotFound: this worker does not hold it.
    """
    wanted = job.body.get("model")
    name = wanted if isinstance(wanted, str) and wanted else None
    return endpoint.pick(surface.name, name, operation.task)


def _listing(job: Job, endpoint: Endpoint) -> Json | None:
    """Answer ``GET /v1/models`` and ``/v1/models/{id}``; None for every other job.

    Raises:
        ModelNotFound: there is no model of that name.
    """
    if job.route is None:
        return None
    first, _, name = plain_route(job.route).lstrip("/").partition("/")
    if first != "models":
        return None
    if name:
        row = endpoint.find(name)
        surface = endpoint.surfaces[row.surface]
        details = surface.details(row)
        return {**_model(row, row.named(name)), **details, "parameters": surface.offered(row)}
    # The models that serve requests that name none come first.
    rows = {row.slug: row for row in (*_defaults(endpoint), *endpoint.catalog.rows)}
    data = [_model(row, name) for row in rows.values() for name in row.called]
    return {"object": "list", "data": data}


def _defaults(endpoint: Endpoint) -> Iterator[Row]:
    """Yield the default of each surface, and then those of tasks that another model serves."""
    for name in endpoint.surfaces:
        yield endpoint.pick(name, None)
    for name, surface in endpoint.surfaces.items():
        for operation in surface.operations:
            with suppress(ModelNotFound):
                yield endpoint.pick(name, None, operation.task)


def _model(row: Row, name: str) -> dict[str, object]:
    """OpenAI's Model; ``surface``, ``tasks`` and ``notice`` are our extensions."""
    notice = {} if row.notice is None else {"notice": row.notice}
    return {
        "id": name,
        "object": "model",
        "created": _STARTED,
        "owned_by": (row.repo or "quartet").split("/")[0],
        "surface": row.surface,
        "tasks": sorted(row.tasks),
        **notice,
    }

"""Which surface, which model; then the surface's own function answers.

The surface is found, in this order, by: an explicit ``surface`` key; the OpenAI route; the
endpoint, when it serves one surface; the marks in the body. A body that says neither its surface
nor its route and is for a task of nobody's here is refused. The route then says which of the
surface's operations, or without one the marks; a job with neither is for the first.
"""

from __future__ import annotations

import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from handler.contract.base import Call, Json, Operation, Surface, plain_route
from handler.contract.lookalikes import lookalike
from handler.contract.request import is_left_out
from handler.errors import RouteUnknown, SurfaceAmbiguous, SurfaceUnknown
from handler.job import Job
from handler.media.bucket import Bucket, BucketConfig
from handler.media.files import MediaDoor
from handler.media.guard import Guard
from handler.media.loras import LoraShelf
from handler.settings.endpoint import Endpoint
from models.errors import InvalidValue, ModelUnsuited, RequestError, shorten
from models.row import Row
from models.warm.pool import Pool
from models.warm.ticket import NEVER, Deadline


@dataclass(frozen=True)
class Task:
    """A job that is understood: its surface, what it asks of it, its typed request, its model."""

    job: Job
    surface: Surface
    operation: Operation
    request: Any
    row: Row


@dataclass(frozen=True)
class Dispatcher:
    """Takes parsed jobs to their surfaces.

    Attributes:
        endpoint: what is served.
        pool: the warm models.
        guard: for clients' files, and for buckets that jobs bring.
        bucket: the endpoint's own bucket.
        inline_limit_bytes, output_limit_bytes, event_limit_bytes, loras: for ``Call``.
        checker: the model that looks at pictures before they leave, None without one.
        diarizer: the model that tells speakers apart, None without one.
    """

    endpoint: Endpoint
    pool: Pool
    guard: Guard
    bucket: Bucket | None
    inline_limit_bytes: int | None = None
    output_limit_bytes: int | None = None
    event_limit_bytes: int | None = None
    loras: LoraShelf | None = None
    checker: Row | None = None
    diarizer: Row | None = None

    def understand(self, job: Job) -> Task:
        """Find the surface, validate the body and pick the model.

        Raises:
            RequestError: whatever is wrong with the job; see ``models.errors``.
        """
        surface, operation = self.find(job)
        endpoint = self.endpoint.seen_at(job.origin)
        wanted = job.body.get("model")
        if (
            isinstance(wanted, str) and wanted
        ):  # what else is wrong is of no interest to who means another
            endpoint.pick(surface.name, wanted)
        with _bounded_depth():
            request = operation.request.parse(job.body)
        row = endpoint.pick(surface.name, request.model, operation.task)
        if operation.task is not None and operation.task not in row.tasks:
            held = self.endpoint.catalog.of(surface.name).rows
            able = [one.slug for one in held if operation.task in one.tasks]
            raise ModelUnsuited(row.slug, operation.task, able)
        return Task(job, surface, operation, request, row)

    def find(self, job: Job) -> tuple[Surface, Operation]:
        """Find what a job is for; raises as ``find_surface`` does."""
        surface = find_surface(job, self.endpoint.seen_at(job.origin))
        if job.route is None:
            return surface, surface.marked(job.body)
        operation = surface.operation(job.route)
        if operation is None:
            raise _route_unknown(job.route, surface.routes)
        if operation.refused is not None:
            raise RouteUnknown(operation.refused, param="openai_route")
        return surface, operation

    async def answer(
        self, task: Task, deadline: Deadline = NEVER, tell: Callable[[Json], None] | None = None
    ) -> Json:
        """Answer a task in one piece.

        Args:
            task: which.
            deadline: of what it runs on the device.
            tell: hears how far it is.
        """
        async with self._call(task, deadline, tell) as call:
            return await task.operation.answer(call)

    async def stream(self, task: Task, deadline: Deadline = NEVER) -> AsyncGenerator[Json, None]:
        """Answer a task event by event; its operation must be one that streams."""
        if task.operation.stream is None:
            raise TypeError(f"{task.surface.name} cannot stream")
        async with self._call(task, deadline) as call:
            async with aclosing(task.operation.stream(call)) as events:
                async for event in events:
                    yield event

    def listing(self, job: Job) -> Json | None:
        """Answer ``GET /v1/models`` and ``/v1/models/{id}``; None for every other job."""
        if job.route is None:
            return None
        first, _, name = plain_route(job.route).lstrip("/").partition("/")
        if first != "models":
            return None
        endpoint = self.endpoint.seen_at(job.origin)
        if name:
            row = endpoint.catalog.find(name)
            surface = endpoint.surfaces[row.surface]
            return {**_model(row, row.named(name)), "parameters": surface.offered(row)}
        defaults = [endpoint.pick(surface, None) for surface in endpoint.surfaces]
        # What serves a request that names no model comes first.
        rows = {row.slug: row for row in (*defaults, *endpoint.catalog.rows)}
        data = [_model(row, name) for row in rows.values() for name in row.called]
        return {"object": "list", "data": data}

    @asynccontextmanager
    async def _call(
        self, task: Task, deadline: Deadline, tell: Callable[[Json], None] | None = None
    ) -> AsyncIterator[Call]:
        bucket = self.bucket_of(task.job)
        async with MediaDoor(self.guard, task.job.uploads) as door:
            call = Call(
                job_id=task.job.id,
                request=task.request,
                row=task.row,
                lease=partial(self.pool.lease, task.row, deadline),
                door=door,
                bucket=bucket,
                route=task.job.route,
                inline_limit_bytes=self.inline_limit_bytes,
                output_limit_bytes=self.output_limit_bytes if bucket is None else None,
                event_limit_bytes=self.event_limit_bytes,
                loras=self.loras,
            )
            if tell is not None:
                call = replace(call, tell=tell)
            if self.checker is not None:
                screen = partial(self._screen, self.checker, deadline)
                call = replace(call, screen=screen, screened_by=self.checker.slug)
            if self.diarizer is not None:
                tell_apart = partial(self._asked, self.diarizer, deadline)
                call = replace(call, tell_apart=tell_apart, told_apart_by=self.diarizer)
            try:
                with _bounded_depth():
                    yield call
            except RequestError as error:
                task.request.renamed(error)
                raise

    async def _screen(
        self, checker: Row, deadline: Deadline, pictures: Sequence[bytes]
    ) -> Sequence[bool]:
        """Whether each picture is to be withheld."""
        # Not above: most workers never screen, and a start is shorter without it.
        from models.images.request import ScreenRequest

        request = ScreenRequest(tuple(pictures))
        flagged: Sequence[bool] = await self._asked(checker, deadline, request)
        return flagged

    async def _asked(self, row: Row, deadline: Deadline, request: Any) -> Any:
        """What a model says that serves beside the one that the job is for."""
        async with self.pool.lease(row, deadline) as model:
            return await model.run(request)

    def bucket_of(self, job: Job) -> Bucket | None:
        """The job's own bucket, the one it chooses of the endpoint's store, else the endpoint's.

        Raises:
            InvalidValue: it chooses one, and the endpoint has no store.
        """
        if job.bucket is None:
            return self.bucket
        if isinstance(job.bucket, BucketConfig):
            return Bucket(job.bucket, self.guard)
        if self.bucket is None:
            raise InvalidValue(
                "s3Config names a bucket without keys, and this endpoint has no store of its own. "
                "Send accessId, accessSecret and endpointUrl too, or have the operator set the "
                "BUCKET_ variables.",
                param="s3Config",
                code="bucket_not_configured",
            )
        config, guard = job.bucket.of(self.bucket.config), self.bucket.guard
        trusted = Guard(guard.private_hosts | config.hosts, guard.timeout_s)
        return Bucket(config, trusted)


@contextmanager
def _bounded_depth() -> Iterator[None]:
    """A body may be nested deeper than what reads and renders it can follow."""
    try:
        yield
    except RecursionError:
        raise InvalidValue("The request is nested too deeply.") from None


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


_STARTED = int(time.time())


def find_surface(job: Job, endpoint: Endpoint) -> Surface:
    """Find the surface that a job is for.

    Raises:
        SurfaceUnknown: nothing says, or it is not served here.
        SurfaceAmbiguous: the body fits two.
        RouteUnknown: an OpenAI route that no surface served here has.
    """
    served = endpoint.surfaces
    if job.surface is not None:
        surface = served.get(job.surface) if isinstance(job.surface, str) else None
        if surface is None:
            raise SurfaceUnknown(
                f"surface is {shorten(str(job.surface))!r}; this worker serves "
                f"{', '.join(served)}.",
                param="surface",
            )
        return surface
    if job.route is not None:
        return _by_route(job.route, served)
    _refuse_other_tasks(job.body, served)
    return endpoint.only or _by_marks(job.body, served)


def _refuse_other_tasks(body: Mapping[str, Any], served: Mapping[str, Surface]) -> None:
    meant = lookalike(body, served)
    if meant is not None:
        task, fields = meant
        raise SurfaceUnknown(
            f"With {' and '.join(fields)} this looks like a request for {task}; this worker serves "
            f"{', '.join(served)}. Send it to an endpoint for {task}, or name the surface in "
            '"surface".',
            param=fields[0],
        )


def _by_route(route: str, served: Mapping[str, Surface]) -> Surface:
    for surface in served.values():
        if surface.operation(route) is not None:
            return surface
    raise _route_unknown(route, [one for surface in served.values() for one in surface.routes])


def _route_unknown(route: str, known: Iterable[str]) -> RouteUnknown:
    return RouteUnknown(
        f"Unknown route {shorten(route)}; this worker answers {', '.join([*known, '/v1/models'])}.",
        param="openai_route",
    )


_NO_OBJECTS = frozenset({"audio", "input"})


def _by_marks(body: Mapping[str, Any], served: Mapping[str, Surface]) -> Surface:
    # A switch is no mark, nor is an object but a picture's: the field is another one, as the
    # ``audio`` of a video. What is empty counts as left out, unless there is nothing else.
    given = {
        key
        for key, value in body.items()
        if not isinstance(value, bool | type(None))
        and (key not in _NO_OBJECTS or not isinstance(value, dict))
    }
    present = {key for key in given if not is_left_out(body[key])}
    if not any(present & set(surface.marks) for surface in served.values()):
        present = given
    claims = {one.name: present & set(one.marks) for one in served.values()}
    matching = [served[name] for name, marks in claims.items() if marks]
    # A mark that is an ordinary field of another match (a transcription's prompt) claims nothing.
    fields = {mark for one in matching for mark in one.companions}
    left = [one for one in matching if claims[one.name] - fields] or matching
    if len(left) == 1:
        return left[0]
    known = "; ".join(f"{one.name}: {' or '.join(one.marks)}" for one in served.values())
    if not left:
        raise SurfaceUnknown(
            f"The body fits no surface. Send one of these fields ({known}), or name the surface "
            'in "surface".',
            param="surface",
        )
    raise SurfaceAmbiguous(
        f"The body fits {' and '.join(one.name for one in left)}. Send the fields of one "
        f'({known}), or name the surface in "surface".',
        param="surface",
    )

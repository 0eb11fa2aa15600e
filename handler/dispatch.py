"""Which surface, which model; then the surface's own function answers.

The surface is found, in this order, by: an explicit ``surface`` key; the OpenAI route; the
endpoint, when it serves one surface; the marks in the body.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from handler.bucket import Bucket
from handler.contract.base import Call, Json, Surface
from handler.endpoint import Endpoint
from handler.errors import RouteUnknown, SurfaceAmbiguous, SurfaceUnknown
from handler.guard import Guard
from handler.job import Job
from handler.media import MediaDoor
from models.errors import shorten
from models.pool import Pool
from models.row import Row


@dataclass(frozen=True)
class Task:
    """A job that is understood: its surface, its typed request, its model."""

    job: Job
    surface: Surface
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
    """

    endpoint: Endpoint
    pool: Pool
    guard: Guard
    bucket: Bucket | None

    def understand(self, job: Job) -> Task:
        """Find the surface, validate the body and pick the model.

        Raises:
            RequestError: whatever is wrong with the job; see ``models.errors``.
        """
        surface = self.surface_of(job)
        request = surface.request.parse(job.body)
        return Task(job, surface, request, self.endpoint.pick(surface.name, request.model))

    def surface_of(self, job: Job) -> Surface:
        """Find the surface that a job is for; raises as ``find_surface`` does."""
        return find_surface(job, self.endpoint)

    async def answer(self, task: Task) -> Json:
        """Answer a task in one piece."""
        async with self._call(task) as call:
            return await task.surface.answer(call)

    async def stream(self, task: Task) -> AsyncGenerator[Json, None]:
        """Answer a task event by event; the surface must be one that streams."""
        if task.surface.stream is None:
            raise TypeError(f"{task.surface.name} cannot stream")
        async with self._call(task) as call:
            events = task.surface.stream(call)
            try:
                async for event in events:
                    yield event
            finally:
                await events.aclose()

    def listing(self, job: Job) -> Json | None:
        """Answer ``GET /v1/models`` and ``/v1/models/{id}``; None for every other job."""
        if job.route is None:
            return None
        first, _, name = _path(job.route).lstrip("/").partition("/")
        if first != "models":
            return None
        if name:
            return _model(self.endpoint.catalog.find(name))
        return {"object": "list", "data": [_model(row) for row in self.endpoint.catalog.rows]}

    @asynccontextmanager
    async def _call(self, task: Task) -> AsyncIterator[Call]:
        async with MediaDoor(self.guard) as door:
            yield Call(
                job_id=task.job.id,
                request=task.request,
                row=task.row,
                lease=partial(self.pool.lease, task.row),
                door=door,
                bucket=self.bucket_of(task.job),
                route=task.job.route,
            )

    def bucket_of(self, job: Job) -> Bucket | None:
        """The job's own bucket, else the endpoint's."""
        return Bucket(job.bucket, self.guard) if job.bucket else self.bucket


def _model(row: Row) -> dict[str, object]:
    return {
        "id": row.slug,
        "object": "model",
        "created": _STARTED,
        "owned_by": (row.repo or "quartet").split("/")[0],
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
    return endpoint.only or _by_marks(job.body, served)


def _by_route(route: str, served: Mapping[str, Surface]) -> Surface:
    wanted = _path(route)
    for surface in served.values():
        if any(one.removeprefix("/v1") == wanted for one in surface.routes):
            return surface
    routes = [one for surface in served.values() for one in surface.routes]
    raise RouteUnknown(
        f"Unknown route {shorten(route)}; this worker answers "
        f"{', '.join([*routes, '/v1/models'])}.",
        param="openai_route",
    )


def _path(route: str) -> str:
    """An OpenAI route without query and version: ``/embeddings``."""
    return "/" + route.split("?")[0].strip("/").removeprefix("v1/")


def _by_marks(body: Mapping[str, Any], served: Mapping[str, Surface]) -> Surface:
    # No mark's value is an object: one under such a key is a stranger's.
    present = {key for key, value in body.items() if not isinstance(value, dict | type(None))}
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

"""Which surface and which of its operations a job is for.

The surface is found, in this order, by: an explicit ``surface`` key; the OpenAI route; the
endpoint, when it serves one surface; the marks in the body. A body that says neither its surface
nor its route and is for a task that nobody serves here is refused. The route then says which of the
surface's operations, or without one the marks; a job with neither is for the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from handler.contract.base import Operation, Surface
from handler.contract.lookalikes import asks_to_read, has_picture, lookalike
from handler.contract.unsupported import is_left_out
from handler.errors import RouteUnknown, SurfaceAmbiguous, SurfaceUnknown
from handler.job import Job
from handler.settings.endpoint import Endpoint
from models.errors import shorten


def find(job: Job, endpoint: Endpoint) -> tuple[Surface, Operation]:
    """Find what a job is for.

    Raises:
        RouteUnknown: an OpenAI route that the surface does not have.
        SurfaceUnknown, SurfaceAmbiguous: as ``find_surface``.
    """
    surface = find_surface(job, endpoint)
    if job.route is None:
        return surface, surface.marked(job.body)
    operation = surface.operation(job.route)
    if operation is None:
        raise _route_unknown(job.route, surface.routes)
    return surface, operation


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
    _refuse_other_tasks(job.body, endpoint)
    return endpoint.only or _of_reading(job.body, endpoint) or _by_marks(job.body, served)


def _refuse_other_tasks(body: Mapping[str, Any], endpoint: Endpoint) -> None:
    served = endpoint.surfaces
    tasks = {
        task
        for surface in served
        for row in endpoint.catalog.of(surface).rows
        for task in row.tasks
    }
    meant = lookalike(body, served, tasks)
    if meant is not None:
        task, fields = meant
        raise SurfaceUnknown(
            f"With {' and '.join(fields)} this looks like a request for {task}; this worker serves "
            f"{', '.join(served)}. Send it to an endpoint for {task}, or name the surface in "
            '"surface".',
            param=fields[0],
        )


def _of_reading(body: Mapping[str, Any], endpoint: Endpoint) -> Surface | None:
    """Return the surface that reads pictures, if the body's fields or its model ask for that.

    Any other picture is one to be changed.
    """
    reader = next((surface for surface in endpoint.surfaces.values() if _reads(surface)), None)
    if reader is None or not has_picture(body) or body.get("messages"):
        return None
    name = body.get("model")
    named = isinstance(name, str) and any(
        row.surface == reader.name and _READS in row.tasks and row.answers_to(name)
        for row in endpoint.catalog.rows
    )
    return reader if named or asks_to_read(body) else None


def _reads(surface: Surface) -> bool:
    return any(operation.task == _READS for operation in surface.operations)


def _by_route(route: str, served: Mapping[str, Surface]) -> Surface:
    for surface in served.values():
        if surface.operation(route) is not None:
            return surface
    raise _route_unknown(route, [known for surface in served.values() for known in surface.routes])


def _route_unknown(route: str, known: Iterable[str]) -> RouteUnknown:
    return RouteUnknown(
        f"Unknown route {shorten(route)}; this worker answers {', '.join([*known, '/v1/models'])}.",
        param="openai_route",
    )


_READS = "img2txt"
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
    if not any(contract.marks_in(body, frozenset(present)) for contract in served.values()):
        present = given
    claims = {
        contract.name: contract.marks_in(body, frozenset(present)) for contract in served.values()
    }
    matching = [served[name] for name, marks in claims.items() if marks]
    # A mark that is an ordinary field of another match (a transcription's prompt) claims nothing.
    fields = {mark for contract in matching for mark in contract.companions}
    left = [contract for contract in matching if claims[contract.name] - fields] or matching
    if len(left) == 1:
        return left[0]
    known = "; ".join(
        f"{contract.name}: {' or '.join(contract.marks)}" for contract in served.values()
    )
    if not left:
        raise SurfaceUnknown(
            f"The body fits no surface. Send one of these fields ({known}), or name the surface "
            'in "surface".',
            param="surface",
        )
    raise SurfaceAmbiguous(
        f"The body fits {' and '.join(contract.name for contract in left)}. Send the fields of one "
        f'({known}), or name the surface in "surface".',
        param="surface",
    )

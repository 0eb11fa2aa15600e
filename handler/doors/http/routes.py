"""OpenAI's routes, answered at once by this worker.

The other door to it: a request becomes a ``Job`` here, and from there everything is as behind the
queue.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp

from handler.acceptance import Accepted, Answered
from handler.contract.base import Operation, Surface
from handler.doors.http.crowd import Crowd, CrowdLimits
from handler.doors.http.protection import BodyLimits, Limited, PlainPaths
from handler.doors.http.requests import (
    left,
    no_such_route,
    read,
    refused,
    response,
    while_connected,
)
from handler.doors.metrics import Metrics
from handler.doors.watch import LoopWatch, ThreadWatch
from handler.entry import Worker
from handler.errors import WorkerBusy, code_of, error_object, wire
from handler.job import Job
from handler.wire import Encoded
from models.device.memory import settle
from models.errors import QuartetError

log = logging.getLogger(__name__)

# What a load balancer wants to know.
_PING = {"warming": 204, "healthy": 200, "broken": 503}
# A page of any site may ask, with the key that the balancer wants. On loopback, where there is no
# key, ``OwnPages`` lets in the pages of this machine alone.
_ANY_PAGE = Middleware(
    CORSMiddleware, allow_origins=["*"], allow_methods=["*"], allow_headers=["*"]
)


class Door:
    """The routes of one worker.

    Args:
        worker: answers.
        body_limits: of a request.
        preload: load the model before the first request, when the worker serves one surface.
        playground: serve the page to try it, too.
        crowd_limits: of all requests together.
    """

    def __init__(
        self,
        worker: Worker,
        body_limits: BodyLimits,
        preload: bool = True,
        playground: bool = False,
        crowd_limits: CrowdLimits = CrowdLimits(),  # noqa: B008 - it cannot be changed
    ) -> None:
        self.state = "warming" if preload else "healthy"
        self._worker = worker
        self._metrics = Metrics(worker.dispatcher.pool)
        self._body_limits = body_limits
        self._crowd_limits = crowd_limits
        self.threads = ThreadWatch()
        self._playground = playground
        self._description: bytes | None = None
        self._describing = asyncio.Lock()

    @property
    def only_warms(self) -> bool:
        """Whether the model is being loaded and no request waits for it."""
        return self.state == "warming" and not self._metrics.in_flight

    def application(self) -> ASGIApp:
        """The ASGI application."""
        operations = [
            (route, (surface, operation))
            for surface in self._worker.endpoint.surfaces.values()
            for operation in surface.operations
            for route in operation.routes
        ]
        application = Starlette(
            routes=[
                *(Route(r, self._operation(r, to), methods=["POST"]) for r, to in operations),
                Route("/v1/models", self._models),
                Route("/v1/models/{model:path}", self._models),
                Route("/ping", self.ping),
                Route("/metrics", self._expose),
                Route("/openapi.json", self._describe),
                *self._pages(),
            ],
            exception_handlers={
                QuartetError: refused,
                ClientDisconnect: left,
                HTTPException: no_such_route,
                Exception: refused,
            },
            middleware=[_ANY_PAGE, self._crowd([route for route, _ in operations])],
            lifespan=lambda _: self.warming(),
        )
        return PlainPaths(Limited(application, self._body_limits))

    def _crowd(self, routes: list[str]) -> Middleware:
        def note(path: str) -> None:
            with self._metrics.request(path) as outcome:
                outcome.code = WorkerBusy.code

        return Middleware(Crowd, limits=self._crowd_limits, paths=routes, note=note)

    def _pages(self) -> list[Route]:
        from playground.pages import page_routes, reference_routes

        if not self._playground:
            return reference_routes()
        surfaces = list(self._worker.endpoint.surfaces)
        about = {
            "kind": "worker",
            "surfaces": surfaces,
            "limit_bytes": self._body_limits.size_bytes,
        }
        return [*page_routes(about), *reference_routes()]

    async def ping(self, http: HttpRequest) -> Response:
        """The balancer's health check."""
        broken = self._worker.lost.is_set() or self.threads.stuck
        state = "broken" if broken else self.state
        return Response(status_code=_PING[state])

    @asynccontextmanager
    async def warming(self) -> AsyncIterator[None]:
        """Warm the model beside the server, so that the balancer sees that it is under way."""
        task = asyncio.create_task(self._warm())
        with LoopWatch():
            async with self.threads:
                yield
        task.cancel()
        await asyncio.wait([task])

    async def _warm(self) -> None:
        if self.state == "warming":
            try:
                await self._worker.warm()
            except QuartetError as error:
                log.error("broken: %s", error_object(error)["message"])
                self.state = "broken"
            else:
                log.info("healthy")
                self.state = "healthy"
        settle()

    async def _expose(self, http: HttpRequest) -> Response:
        return Response(self._metrics.expose(), media_type=self._metrics.content_type)

    async def _describe(self, http: HttpRequest) -> Response:
        """The interface as an OpenAPI document, made when it is first asked for."""
        async with self._describing:
            if self._description is None:
                self._description = await asyncio.to_thread(self._document)
        return Response(self._description, media_type="application/json")

    def _document(self) -> bytes:
        # Most workers are never asked: what it takes is not imported at their start.
        from handler.openapi import document

        endpoint = self._worker.endpoint
        models = {}
        for name in endpoint.surfaces:
            default = endpoint.pick(name, None)
            others = (row for row in endpoint.catalog.of(name).rows if row.slug != default.slug)
            models[name] = [default, *others]
        described = document(endpoint.surfaces, models, self._body_limits.size_bytes)
        return json.dumps(described, ensure_ascii=False).encode()

    async def _models(self, http: HttpRequest) -> Response:
        output = await self._worker.answer(Job(id="models", body={}, route=http.url.path))
        return response(output)

    def _operation(
        self, route: str, target: tuple[Surface, Operation]
    ) -> Callable[[HttpRequest], Awaitable[Response]]:
        async def endpoint(http: HttpRequest) -> Response:
            try:
                async with read(http, target[1]) as (body, uploads):
                    job = Job(id=uuid.uuid4().hex, body=body, route=route, uploads=uploads)
                    accepted = self._worker.accept(job, target)
                    if accepted.streams:
                        return await self._stream(http, job, accepted, target[1])
                    return await self._answer(http, job, accepted, target[1])
            except QuartetError as error:  # it cannot be read, and is no job
                with self._metrics.request(route) as outcome:
                    outcome.code = error.code
                return response(wire(error), operation=target[1])

        return endpoint

    async def _answer(
        self, http: HttpRequest, job: Job, accepted: Accepted | Answered, operation: Operation
    ) -> Response:
        with self._metrics.request(str(job.route)) as outcome:
            output = await while_connected(http, self._worker.answer(accepted, carries_files=True))
            outcome.code = code_of(output)
            return response(output, job.id, operation)

    async def _stream(
        self, http: HttpRequest, job: Job, accepted: Accepted | Answered, operation: Operation
    ) -> Response:
        """Start the stream once its first event is there: until then an error has a status."""
        events = self._measured(str(job.route), accepted)
        first = await while_connected(http, anext(events))
        if isinstance(first, dict):
            await events.aclose()
            return response(first, job.id, operation)

        file = first if isinstance(first, Encoded) else None

        async def body() -> AsyncGenerator[str | bytes, None]:
            async with aclosing(events):
                yield first if file is None else file.content
                async for event in events:
                    if isinstance(event, Encoded):
                        yield event.content
                    elif file is not None:
                        raise ConnectionAbortedError("a file broke off")  # and looks like it
                    elif isinstance(event, str):  # an error comes last once more, as an object
                        yield event

        headers = {"x-request-id": job.id, "cache-control": "no-cache", "x-accel-buffering": "no"}
        if file is not None:
            return StreamingResponse(body(), 200, {**headers, **file.headers}, file.media_type)
        return StreamingResponse(body(), media_type="text/event-stream", headers=headers)

    async def _measured(
        self, route: str, accepted: Accepted | Answered
    ) -> AsyncGenerator[Any, None]:
        with self._metrics.request(route) as outcome:
            async with aclosing(self._worker.stream(accepted, carries_files=True)) as events:
                code = "ok"
                async for output in events:
                    if (code := code_of(output)) != "ok":
                        outcome.code = code  # now: who reads may stop at it
                    yield output
                outcome.code = code

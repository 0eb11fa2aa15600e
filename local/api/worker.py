"""The routes for the SDK's loop, which finds them in its ``RUNPOD_WEBHOOK_*`` variables.

``job-take`` returns one job, ``job-take-batch`` up to ``batch_size``; after a while without jobs
both return 204. ``job-stop`` names jobs to stop. ``job-done`` and ``job-stream`` receive a result
and a chunk of a stream. ``ping`` is a heartbeat.

Our worker sends more data than the SDK, in headers (handler/doors/queue/polls.py). With them the
platform detects a repeated chunk, a post of an earlier run, a job that did not reach the worker,
and a stop that did not.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from local.api.common import (
    Gone,
    Refused,
    is_number,
    json_response,
    parse,
    read_body,
    while_connected,
)
from local.queue.platform import Platform
from local.queue.watch import poll_cut
from local.queue.workers import Report, Worker

Handler = Callable[[Request, Worker], Awaitable[Response]]


class WorkerRoutes:
    """The workers' routes of every endpoint.

    Args:
        platform: the queues.
        token: the secret in the workers' URLs.
    """

    def __init__(self, platform: Platform, token: str) -> None:
        self._platform = platform
        self._token = token

    def routes(self) -> list[Route]:
        """Return all routes, below ``/v2/{endpoint}``."""
        table: list[tuple[str, str, Handler]] = [
            ("GET", "job-take/{worker}", self._take),
            ("GET", "job-take-batch/{worker}", self._take),
            ("GET", "job-stop/{worker}", self._stop),
            ("POST", "job-done/{worker}/{job}", self._done),
            ("POST", "job-stream/{worker}/{job}", self._stream),
            ("GET", "ping/{worker}", self._ping),
        ]
        return [
            Route(f"/v2/{{endpoint}}/{path}", self._of_worker(handler), methods=[method])
            for method, path, handler in table
        ]

    def _of_worker(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(http: Request) -> Response:
            given = http.query_params.get("token", "")
            if not hmac.compare_digest(given.encode(), self._token.encode()):
                raise Refused(401, "this address is for workers")
            name = http.path_params["endpoint"]
            if name not in self._platform.queues.endpoints:
                raise Refused(404, "no such endpoint")
            worker_id = http.path_params["worker"]
            worker = self._platform.worker(name, worker_id, joins=handler in polls)
            return await handler(http, worker)

        polls = (self._take, self._stop)
        return endpoint

    async def _take(self, http: Request, worker: Worker) -> Response:
        batch = http.query_params.get("batch_size")
        count = int(batch) if batch is not None and is_number(batch) else 1
        if not self._platform.report(worker, _report(http)):
            return Response(status_code=204)  # not read: the worker has sent a newer poll
        jobs = await self._poll(http, worker, self._platform.take(worker, max(1, count)))
        if not jobs:
            return Response(status_code=204)
        sent = [job.for_worker(self._platform.served[job.endpoint]) for job in jobs]
        return json_response(sent[0] if batch is None else sent)

    async def _stop(self, http: Request, worker: Worker) -> Response:
        seen = _number(http, "X-Stops-Seen")
        stops = await self._poll(http, worker, self._platform.stops(worker, seen))
        if not stops:
            return Response(status_code=204)
        answer = json_response({"jobsToStop": stops})
        answer.headers["X-Stops"] = str(worker.stops_sent[0])
        return answer

    async def _poll(self, http: Request, worker: Worker, work: Awaitable[list[Any]]) -> list[Any]:
        worker.open_polls += 1
        worker.polled = worker.seen
        try:
            return await while_connected(http, work)
        except Gone:
            poll_cut(self._platform, worker)
            return []
        finally:
            worker.open_polls -= 1

    async def _done(self, http: Request, worker: Worker) -> Response:
        limit = self._platform.limits.runsync_bytes
        job_id = http.path_params["job"]
        try:
            content = await read_body(http, limit)
            result = parse(content)
        except Refused as refused:
            self._platform.answers.refuse(worker, job_id, refused.message)
            raise
        run, events = _number(http, "X-Run"), _number(http, "X-Events")
        self._platform.answers.finish(worker, job_id, result, len(content), run=run, events=events)
        return Response()

    async def _stream(self, http: Request, worker: Worker) -> Response:
        content = await read_body(http, 2 * self._platform.limits.chunk_bytes)
        chunk = parse(content).get("output")
        run, sequence = _number(http, "X-Run"), _number(http, "X-Sequence")
        job_id = http.path_params["job"]
        self._platform.answers.stream(
            worker, job_id, chunk, len(content), run=run, sequence=sequence
        )
        return Response()

    async def _ping(self, http: Request, worker: Worker) -> Response:
        return Response()


def _report(http: Request) -> Report:
    """Return the data that a worker sends when it polls for jobs."""
    runs = http.headers.get("X-Runs")
    return Report(
        poll=_number(http, "X-Poll", digits=20),
        runs=None
        if runs is None
        else frozenset(int(run) for run in runs.split(",") if is_number(run)),
        idle=http.query_params.get("job_in_progress") == "0",
    )


def _number(http: Request, name: str, digits: int = 15) -> int | None:
    """Return the number in a header, None without one."""
    text = http.headers.get(name, "")
    return int(text) if is_number(text, digits) else None

"""Have the function of an accepted job's operation answer it, with all that it may use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from handler.acceptance import Accepted, bounded_depth
from handler.contract.base import Call, Helper, Json
from handler.job import Job
from handler.media.bucket import Bucket, BucketConfig
from handler.media.files import MediaDoor
from handler.media.guard import Guard
from handler.media.loras import LoraShelf
from models.errors import InvalidValue, RequestError
from models.row import Row
from models.warm.pool import Pool
from models.warm.ticket import NEVER, Deadline


@dataclass(frozen=True)
class Dispatcher:
    """Takes accepted jobs to their surfaces.

    Attributes:
        pool: the warm models.
        guard: for clients' files, and for buckets that jobs bring.
        bucket: the endpoint's own bucket.
        inline_limit_bytes, output_limit_bytes, event_limit_bytes, loras: for ``Call``.
        helpers: the models that serve beside others, by what they do (``Call.helpers``).
    """

    pool: Pool
    guard: Guard
    bucket: Bucket | None
    inline_limit_bytes: int | None = None
    output_limit_bytes: int | None = None
    event_limit_bytes: int | None = None
    loras: LoraShelf | None = None
    helpers: Mapping[str, Row] = field(default_factory=dict)

    async def answer(
        self,
        accepted: Accepted,
        deadline: Deadline = NEVER,
        tell: Callable[[Json], None] | None = None,
        *,
        carries_files: bool = False,
    ) -> Json:
        """Answer a job in one piece.

        Args:
            accepted: which.
            deadline: of what it runs on the device.
            tell: hears how far it is.
            carries_files: whether its door delivers files as they are.
        """
        async with self._call(accepted, deadline, tell, carries_files) as call:
            return await accepted.operation.answer(call)

    async def stream(
        self, accepted: Accepted, deadline: Deadline = NEVER, *, carries_files: bool = False
    ) -> AsyncGenerator[Json, None]:
        """Answer a job event by event; its operation must be one that streams."""
        if accepted.operation.stream is None:
            raise TypeError(f"{accepted.surface.name} cannot stream")
        async with self._call(accepted, deadline, None, carries_files) as call:
            async with aclosing(accepted.operation.stream(call)) as events:
                async for event in events:
                    yield event

    @asynccontextmanager
    async def _call(
        self,
        accepted: Accepted,
        deadline: Deadline,
        tell: Callable[[Json], None] | None,
        carries_files: bool,
    ) -> AsyncIterator[Call]:
        bucket = self.bucket_of(accepted.job)
        bounded = bucket is None or carries_files  # a file that leaves as it is goes by no bucket
        async with MediaDoor(self.guard, accepted.job.uploads) as door:
            call = Call(
                job_id=accepted.job.id,
                request=accepted.request,
                row=accepted.row,
                lease=partial(self.pool.lease, accepted.row, deadline),
                door=door,
                bucket=bucket,
                route=accepted.job.route,
                inline_limit_bytes=self.inline_limit_bytes,
                output_limit_bytes=self.output_limit_bytes if bounded else None,
                event_limit_bytes=self.event_limit_bytes,
                loras=self.loras,
                carries_files=carries_files,
                helpers={
                    name: Helper(row, partial(self._ask, row, deadline))
                    for name, row in self.helpers.items()
                },
            )
            if tell is not None:
                call = replace(call, tell=tell)
            try:
                with bounded_depth():
                    yield call
            except RequestError as error:
                accepted.request.renamed(error)
                raise

    async def _ask(self, row: Row, deadline: Deadline, request: Any) -> Any:
        """Answer a request by a model that serves beside the one that the job is for."""
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

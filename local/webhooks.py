"""Webhooks: RunPod's for a final job; the gateway's, signed, for its start and its end.

A failed delivery is retried, as ``Limits`` defines.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from local.queue.jobs import Hook, Job, Status
from local.queue.limits import Limits

log = logging.getLogger(__name__)

_ANSWER_S = 10  # RunPod's timeout
_GATEWAY_ANSWER_S = 8


class Webhooks:
    """Delivers webhooks in the background.

    Args:
        limits: how often a delivery is retried.
        secret: signs the gateway's webhooks.
        keep: called with a job whose deliveries have changed.
    """

    def __init__(
        self, limits: Limits, secret: str, keep: Callable[[Job], None] = lambda _: None
    ) -> None:
        self._limits = limits
        self._secret = secret
        self._keep = keep
        self._tasks: set[asyncio.Task[None]] = set()

    def follow(self, job: Job, hook: Hook) -> None:
        """Send RunPod's webhook, the job's status once it is final; or the gateway's.

        The gateway's are ``job.processing`` now, then ``job.completed`` or ``job.failed``.
        """
        job.hooks.append(hook)
        self._begin(job, hook)

    def follow_again(self, job: Job) -> None:
        """Send all webhooks of a job that was retried."""
        for hook in job.hooks:
            hook.deliveries = {}
            self._begin(job, hook)

    def resume(self, job: Job) -> None:
        """Send the webhooks of a restored job that are not delivered."""
        for hook in job.hooks:
            if hook.pending:
                hook.pending = 0
                self._begin(job, hook)

    def _begin(self, job: Job, hook: Hook) -> None:
        hook.pending += 1
        self._keep(job)
        now = {"id": job.id, "status": str(job.status)}
        self._start(self._send_all(job, hook, now))

    async def _send_all(self, job: Job, hook: Hook, now: dict[str, Any]) -> None:
        if hook.surface is None:
            await self._send_end(job, hook.url)
        else:
            await self._send_steps(job, hook, hook.surface, now)
        hook.pending -= 1
        self._keep(job)

    async def test(self, url: str, event: str, data: dict[str, Any] | None) -> str:
        """Send an event without a job, to test an address; return the job id in the event."""
        job_id = f"test_{uuid.uuid4()}"
        status = {"job.completed": "COMPLETED", "job.failed": "FAILED"}.get(event, "IN_PROGRESS")
        result, delivery = data or {"test": True}, str(uuid.uuid4())
        content, headers = self._event(event, job_id, status, "chat", result, delivery)
        async with _session(headers, _GATEWAY_ANSWER_S) as session:
            if refusal := await _post(session, url, content, _TAKEN_BY_GATEWAY):
                log.warning("webhook to %s: %s", _host(url), refusal)
        return job_id

    async def close(self, timeout_s: float = 5) -> None:
        """Wait for deliveries in progress, then cancel those that remain."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_end(self, job: Job, url: str) -> None:
        await job.end()
        session = _session({}, _ANSWER_S)
        await self._deliver(session, url, json.dumps(job.view()).encode(), range(200, 201))

    async def _send_steps(self, job: Job, hook: Hook, surface: str, first: dict[str, Any]) -> None:
        if _EVENTS[first["status"]] == "job.processing":
            await self._deliver_event(job, hook, surface, first)
            await job.end()
        view = job.view()
        if _is_readable(view):
            await self._deliver_event(job, hook, surface, view)
        else:
            log.warning("%s: the gateway needs an object as output, so it sends no event", job.id)

    async def _deliver_event(
        self, job: Job, hook: Hook, surface: str, result: dict[str, Any]
    ) -> None:
        status = result["status"]
        event = _EVENTS[status]
        delivery = hook.deliveries.setdefault(event, str(uuid.uuid4()))
        self._keep(job)  # the same event has the same id, also after the end of this process
        content, headers = self._event(event, job.id, status, surface, result, delivery)
        session = _session(headers, _GATEWAY_ANSWER_S)
        await self._deliver(session, hook.url, content, _TAKEN_BY_GATEWAY)

    def _event(
        self,
        event: str,
        job_id: str,
        status: str,
        surface: str,
        result: dict[str, Any],
        delivery: str,
    ) -> tuple[bytes, dict[str, str]]:
        """Return the body and the headers of one delivery, the same for every attempt."""
        now_s = int(time.time())
        body = {
            "event": event,
            "delivery_id": delivery,
            "timestamp": _timestamp(now_s),
            "data": {
                "job_request_id": job_id,
                "status": status,
                "surface": surface,
                "result": result,
            },
        }
        content = json.dumps(body).encode()
        headers = {
            "X-DeAPI-Event": event,
            "X-DeAPI-Delivery-Id": delivery,
            "X-DeAPI-Timestamp": str(now_s),
            "X-DeAPI-Signature": sign(self._secret, now_s, content),
        }
        return content, headers

    async def _deliver(
        self, session: aiohttp.ClientSession, url: str, content: bytes, taken: range
    ) -> None:
        async with session:
            for left in reversed(range(self._limits.webhook_tries)):
                refusal = await _post(session, url, content, taken)
                if refusal is None:
                    return
                then = "it is tried again" if left else "it is given up"
                log.warning("webhook to %s: %s; %s", _host(url), refusal, then)
                if left:
                    await asyncio.sleep(self._limits.webhook_pause_s)


_TAKEN_BY_GATEWAY = range(200, 300)


def _session(headers: dict[str, str], answer_s: float) -> aiohttp.ClientSession:
    headers = {"Content-Type": "application/json; charset=utf-8", **headers}
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=answer_s), headers=headers)


def _is_readable(view: dict[str, Any]) -> bool:
    """Whether the gateway can process a status: its output is an object with string ids."""
    output = view.get("output", {})
    ids = [output.get("id", ""), output.get("jobId", "")] if isinstance(output, dict) else [None]
    return all(isinstance(value, str) for value in ids)


_EVENTS: dict[str, str] = {
    Status.IN_QUEUE: "job.processing",
    Status.IN_PROGRESS: "job.processing",
    Status.COMPLETED: "job.completed",
    Status.FAILED: "job.failed",
    Status.CANCELLED: "job.failed",
    Status.TIMED_OUT: "job.failed",
}


async def _post(
    session: aiohttp.ClientSession, url: str, content: bytes, taken: range
) -> str | None:
    """Deliver once; return the reason of a failure, None on success."""
    try:
        async with session.post(url, data=content, allow_redirects=False) as response:
            return None if response.status in taken else f"status {response.status}"
    except (aiohttp.ClientError, OSError, ValueError) as error:  # OSError includes timeouts
        return f"not reached ({type(error).__name__})"


def _host(url: str) -> str:
    """Return the host of a URL for the log; the rest of the URL may contain a token."""
    try:
        return urlsplit(url).hostname or "an address without a host"
    except ValueError:
        return "an invalid address"


def _timestamp(now_s: int) -> str:
    """Return a time as JavaScript formats it: ``2026-01-31T12:00:00.000Z``."""
    written = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


def sign(secret: str, timestamp_s: int, content: bytes) -> str:
    """Return ``sha256=`` and the HMAC of ``timestamp.body`` in hexadecimal."""
    signed = f"{timestamp_s}.".encode() + content
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

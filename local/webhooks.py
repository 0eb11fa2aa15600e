"""Webhooks: RunPod's, when a job is final, and the gateway's, signed, at each step.

A delivery that is not answered with 200 is tried again, as often and as late as ``Limits`` say.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from local.queue.jobs import FINAL, Job, Status
from local.queue.limits import Limits

log = logging.getLogger(__name__)

_ANSWER_S = 10


class Webhooks:
    """Delivers, in the background.

    Args:
        limits: how often a delivery is tried.
        secret: signs the gateway's webhooks.
    """

    def __init__(self, limits: Limits, secret: str) -> None:
        self._limits = limits
        self._secret = secret
        self._tasks: set[asyncio.Task[None]] = set()

    def on_end(self, job: Job, url: str) -> None:
        """RunPod's: the job's status, once it is final."""
        job.follow(lambda: self._start(self._tell_the_end(job, url)))

    def on_steps(self, job: Job, url: str, surface: str) -> None:
        """The gateway's: ``job.processing``, then ``job.completed`` or ``job.failed``."""
        job.follow(lambda: self._start(self._tell_the_steps(job, url, surface)))

    async def close(self, timeout_s: float = 5) -> None:
        """Let deliveries under way end, and give up on those that wait."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell_the_end(self, job: Job, url: str) -> None:
        await job.end()
        await self._deliver(url, json.dumps(job.view()).encode(), {})

    async def _tell_the_steps(self, job: Job, url: str, surface: str) -> None:
        told = None
        async for status in job.states():
            view = {**job.view(), "status": str(status)}
            # A job may be through before this task has seen it run.
            steps = [Status.IN_PROGRESS, status] if status in FINAL else [status]
            for step in steps:
                event = _EVENTS.get(step)
                if event is None or event == told or (told is not None and step not in FINAL):
                    continue
                told = event
                data = view if step is status else {"id": job.id, "status": str(step)}
                await self._deliver_event(url, event, job, surface, data)

    async def _deliver_event(
        self, url: str, event: str, job: Job, surface: str, result: dict[str, Any]
    ) -> None:
        now, delivery = time.time(), str(uuid.uuid4())
        body = {
            "event": event,
            "delivery_id": delivery,
            "timestamp": _timestamp(now),
            "data": {
                "job_request_id": job.id,
                "status": result["status"],
                "surface": surface,
                "result": result,
            },
        }
        content = json.dumps(body).encode()
        headers = {
            "X-DeAPI-Event": event,
            "X-DeAPI-Delivery-Id": delivery,
            "X-DeAPI-Timestamp": str(int(now)),
            "X-DeAPI-Signature": sign(self._secret, int(now), content),
        }
        await self._deliver(url, content, headers)

    async def _deliver(self, url: str, content: bytes, headers: dict[str, str]) -> None:
        headers = {"Content-Type": "application/json; charset=utf-8", **headers}
        timeout = aiohttp.ClientTimeout(total=_ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            for left in reversed(range(self._limits.webhook_tries)):
                refusal = await _post(session, url, content)
                if refusal is None:
                    return
                then = "it is tried again" if left else "it is given up"
                log.warning("webhook to %s: %s; %s", _host(url), refusal, then)
                if left:
                    await asyncio.sleep(self._limits.webhook_pause_s)


_EVENTS = {
    Status.IN_PROGRESS: "job.processing",
    Status.COMPLETED: "job.completed",
    Status.FAILED: "job.failed",
    Status.CANCELLED: "job.failed",
    Status.TIMED_OUT: "job.failed",
}


async def _post(session: aiohttp.ClientSession, url: str, content: bytes) -> str | None:
    """Deliver once; returns why it was not taken, None when it was."""
    try:
        async with session.post(url, data=content, allow_redirects=False) as response:
            return None if response.status == 200 else f"status {response.status}"
    except (aiohttp.ClientError, OSError, ValueError) as error:  # OSError has the timeout too
        return f"not reached ({type(error).__name__})"


def _host(url: str) -> str:
    """Return the host of a URL for the log; the rest of it may hold a token."""
    try:
        return urlsplit(url).hostname or "an address without a host"
    except ValueError:
        return "an address that is none"


def _timestamp(now_s: float) -> str:
    """As JavaScript writes a time: ``2026-01-31T12:00:00.000Z``."""
    written = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
    return written.replace("+00:00", "Z")


def sign(secret: str, timestamp_s: int, content: bytes) -> str:
    """``sha256=`` and the HMAC of ``timestamp.body``, in hexadecimal digits."""
    signed = f"{timestamp_s}.".encode() + content
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()

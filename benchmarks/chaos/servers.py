"""The servers that jobs name: of media files, of a bucket, and of webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import boto3
import httpx
from aiohttp import web
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import make_server

from benchmarks.chaos.gallery import sound

SECRET = "chaos"
BUCKET = "results"
_SKEW_S = 900.0  # how far ahead a signature's time may be
_STORM = 4  # one in so many first deliveries is refused

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


async def serve(application: web.Application) -> tuple[web.AppRunner, int]:
    """Serve an application on a free port of loopback."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, int(runner.addresses[0][1])


def media() -> web.Application:
    """Return the server of the gallery's recordings: ``/7.wav``."""

    async def give(request: web.Request) -> web.Response:
        return web.Response(body=sound(int(request.match_info["number"])), content_type="audio/wav")

    application = web.Application()
    application.router.add_get("/{number}.wav", give)
    return application


class Receiver:
    """Receives webhooks; refuses some at their first delivery, as a busy server does.

    Args:
        note: called with a job's id and the value of its event.
    """

    def __init__(self, note: Callable[[str, dict[str, Any]], None]) -> None:
        self._note = note
        self._known: set[bytes] = set()

    def application(self) -> web.Application:
        """Return the server."""
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/hook", self._take)
        return application

    async def _take(self, request: web.Request) -> web.Response:
        content = await request.read()
        digest = hashlib.sha256(content).digest()
        if digest not in self._known and digest[0] % _STORM == 0:
            self._known.add(digest)
            return web.Response(status=503)
        self._known.add(digest)
        self._note(*read_webhook(content, dict(request.headers)))
        return web.Response()


def read_webhook(content: bytes, headers: dict[str, str]) -> tuple[str, dict[str, Any]]:
    """Return a webhook's job and the value of its event."""
    body = json.loads(content)
    if "delivery_id" not in body:  # RunPod's: the status, not signed
        return body["id"], {"status": body["status"], "gateway": False, "signed": False}
    signed = f"{headers.get('X-DeAPI-Timestamp')}.".encode() + content
    right = "sha256=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    value = {
        "status": body["data"]["status"],
        "gateway": True,
        "signed": headers.get("X-DeAPI-Signature") == right,
        "delivery": body["delivery_id"],
    }
    return body["data"]["job_request_id"], value


class Bucket:
    """A store with the bucket in it, on a port of loopback.

    It is moto, and looks at the times of signatures besides, as S3 does.
    """

    def __init__(self) -> None:
        application = in_its_time(DomainDispatcherApplication(create_backend_app))
        self._server = make_server(
            "127.0.0.1", 0, application, threaded=True, request_handler=MotoRequestHandler
        )
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        keys = {"aws_access_key_id": "key-id", "aws_secret_access_key": "hush"}
        store = boto3.client(
            "s3", endpoint_url=f"http://127.0.0.1:{self.port}", region_name="us-east-1", **keys
        )
        store.create_bucket(Bucket=BUCKET)
        store.close()

    def stop(self) -> None:
        """Empty the store, which moto keeps for the whole process, and stop it."""
        httpx.post(f"http://127.0.0.1:{self.port}/moto-api/reset")
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def in_its_time(application: Wsgi) -> Wsgi:
    """Return a store that refuses presigned requests before and after their time."""

    def checked(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        refusal = _of_another_time(environ.get("QUERY_STRING", ""))
        if refusal is None:
            return application(environ, start)
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start("403 Forbidden", [("Content-Type", "application/xml"), ("Connection", "close")])
        message = f"<Message>{refusal}</Message>"
        return [f"<Error><Code>AccessDenied</Code>{message}</Error>".encode()]

    return checked


def _of_another_time(query: str) -> str | None:
    """Return why a presigned request is refused now; None if it is not."""
    fields = parse_qs(query)
    if "X-Amz-Date" not in fields:
        return None
    signed = datetime.strptime(fields["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    age_s = (datetime.now(UTC) - signed).total_seconds()
    if age_s < -_SKEW_S:
        return "Request is not valid yet"
    return "Request has expired" if age_s > float(fields["X-Amz-Expires"][0]) else None

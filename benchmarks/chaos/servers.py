"""The servers that jobs name: of media files, of a bucket, and of webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import boto3
from aiohttp import web
from moto.server import ThreadedMotoServer

from benchmarks.chaos.gallery import sound

SECRET = "chaos"
BUCKET = "results"
_STORM = 4  # one in so many first deliveries is refused


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


def bucket() -> tuple[ThreadedMotoServer, int]:
    """Start a store with the bucket in it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "key-id", "aws_secret_access_key": "hush"}
    store = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", **keys
    )
    store.create_bucket(Bucket=BUCKET)
    store.close()
    return server, port

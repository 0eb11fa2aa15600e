"""A bucket of S3, played."""

from __future__ import annotations

from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from tests.support.servers import serve


class Store:
    """Keeps what is PUT with a signature, and gives it back."""

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, str]] = {}
        self.status = 200

    async def put(self, request: web.Request) -> web.Response:
        signed = request.query["X-Amz-SignedHeaders"]
        assert request.query["X-Amz-Algorithm"] == "AWS4-HMAC-SHA256"
        assert "content-type" in signed
        assert request.query["X-Amz-Credential"].startswith("key-id/")
        if self.status == 200:
            kind = request.headers["Content-Type"]
            self.objects[request.path] = (await request.read(), kind)
        return web.Response(status=self.status)

    async def get(self, request: web.Request) -> web.Response:
        content, kind = self.objects[request.path]
        assert "X-Amz-Signature" in request.query
        return web.Response(body=content, content_type=kind)


@pytest.fixture
def store() -> Iterator[tuple[Store, str]]:
    kept = Store()
    application = web.Application(client_max_size=50_000_000)
    application.router.add_put("/{path:.*}", kept.put)
    application.router.add_get("/{path:.*}", kept.get)
    with serve(application) as url:
        yield kept, url


def variables(url: str) -> dict[str, str]:
    return {
        "BUCKET_ENDPOINT_URL": url,
        "BUCKET_ACCESS_KEY_ID": "key-id",
        "BUCKET_SECRET_ACCESS_KEY": "hush",
        "BUCKET_NAME": "results",
    }


async def read(url: str) -> bytes:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.read()

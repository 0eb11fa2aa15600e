"""The pages' files, and the rules that a browser is to keep to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"

_KINDS = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
# Scripts, styles and requests: this server's alone. No text becomes HTML or code (Trusted Types).
# Pictures and sound are those that the page was given, or made.
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    )
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}

# What the page of reference is made of.
_OF_REFERENCE = frozenset({"reference.js", "reference.css", "style.css", "dom.js", "icon.svg"})


def page_routes(about: Mapping[str, Any]) -> list[Route]:
    """The page at ``/`` and ``/playground``, its files below, and ``about.json`` among them.

    Args:
        about: what the page is told of its server: ``kind`` (``worker`` or ``platform``) and
            ``surfaces``, and ``limit_bytes``, the largest request; of a platform ``endpoints`` and
            whether it asks for a ``key``, too.
    """

    async def index(_: Request) -> Response:
        return _file(STATIC / "index.html")

    async def tell(_: Request) -> Response:
        return JSONResponse(dict(about), headers=_HEADERS)

    async def asset(http: Request) -> Response:
        # A name of the folder's own list leads nowhere else.
        name = http.path_params["name"]
        path = next((path for path in STATIC.iterdir() if path.name == name), None)
        if path is None:
            return Response("There is no such file.", 404, _HEADERS, "text/plain")
        return _file(path)

    return [
        Route("/", index),
        Route("/playground", index),
        Route("/playground/about.json", tell),
        Route("/playground/{name}", asset),
    ]


def reference_routes() -> list[Route]:
    """The page at ``/docs`` that shows the server's ``/openapi.json``, and its files below."""

    async def index(_: Request) -> Response:
        return _file(STATIC / "reference.html")

    async def asset(http: Request) -> Response:
        name = http.path_params["name"]
        if name not in _OF_REFERENCE:
            return Response("There is no such file.", 404, _HEADERS, "text/plain")
        return _file(STATIC / name)

    return [Route("/docs", index), Route("/docs/{name}", asset)]


def _file(path: Path) -> Response:
    return FileResponse(path, media_type=_KINDS[path.suffix], headers=_HEADERS)

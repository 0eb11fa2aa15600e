"""Targets that are requests."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from starlette.requests import Request as HttpRequest

from handler.assemble import assemble
from handler.contract.images.request import ImagesRequest
from handler.contract.transcribe.request import TranscriptionRequest
from handler.doors.http.forms import read_form
from handler.entry import Worker
from handler.errors import error_of
from handler.job import parse_job
from handler.media.files import MediaDoor
from handler.media.guard import Guard, is_public
from handler.settings.variable import SettingsError
from handler.settings.variables import Settings
from handler.wire import encode
from local.api.uris import is_uri
from models.errors import QuartetError

OURS = frozenset({"internal_error", "engine_failed", "device_lost"})


class Broken(Exception):
    """The worker did what it must not do."""


class _NoNetwork(Guard):
    """A guard that finds no host, and refuses to be asked for one inside."""

    async def lookup(self, host: str, port: int, family: int) -> list[Any]:
        raise OSError("no network")


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def read_job(content: bytes) -> None:
    """Read a job of the queue."""
    with suppress(QuartetError):
        parse_job(_json(content))


@contextmanager
def contract(surface: str) -> Iterator[Callable[[bytes], None]]:
    """Lend the whole way of a request of one surface, with an engine without weights."""
    env = {"FAKE_ENGINES": "1", "DEVICE": "cpu", "SURFACE": surface, "MEDIA_TIMEOUT_S": "1"}
    worker = assemble(Settings.from_env(env))
    object.__setattr__(worker.dispatcher, "guard", _NoNetwork(frozenset(), 1.0))
    with asyncio.Runner() as runner:

        def feed(content: bytes) -> None:
            runner.run(_answered(worker, _json(content)))

        yield feed


async def _answered(worker: Worker, body: Any) -> None:
    job = {"id": "fuzz", "input": body}
    answer = await worker.answer(job)
    error = error_of(answer)
    if error is not None:
        if error["code"] in OURS:
            raise Broken(f"{error['code']}: {error['message']}")
        encode(error)  # as HTTP sends it
        return
    content = getattr(answer, "content", None)
    if content is not None:
        json.loads(content)
        return
    async for event in answer:
        error = error_of(event)
        encode(error)
        if error is not None and error["code"] in OURS:
            raise Broken(f"{error['code']} in a stream")


@contextmanager
def form() -> Iterator[Callable[[bytes], None]]:
    """Lend the reader of forms; the first line is the content type."""
    with asyncio.Runner() as runner:
        yield lambda content: runner.run(_read_forms(*content.partition(b"\n")[::2]))


async def _read_forms(kind: bytes, body: bytes) -> None:
    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", kind)]}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    for request in (TranscriptionRequest, ImagesRequest):
        with suppress(QuartetError):
            async with read_form(HttpRequest(scope, receive), request):
                pass


@contextmanager
def uri() -> Iterator[Callable[[bytes], None]]:
    """Lend the door of clients' files, which is given whatever the text is; nothing is reached."""
    guard = _NoNetwork(frozenset(), 1.0)

    async def fetch(text: str) -> None:
        async with MediaDoor(guard) as door:
            with suppress(QuartetError):
                await door.fetch(text, "audioUrl", 100_000)

    with asyncio.Runner() as runner:

        def feed(content: bytes) -> None:
            text = _text(content)
            is_uri(text)
            try:
                host = guard.check_url(text, "audioUrl").host
            except QuartetError:
                host = None
            if host and _is_private(host):
                raise Broken(f"{host} is private")
            runner.run(fetch(text))

        yield feed


def _text(content: bytes) -> str:
    try:
        return content.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _is_private(host: str) -> bool:
    try:
        return not is_public(host)
    except ValueError:
        return False


def settings(content: bytes) -> None:
    """Read an environment, one variable a line."""
    lines = content.decode("latin-1").replace("\0", "").splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    with suppress(SettingsError):
        Settings.from_env({name: value for name, _, value in pairs})

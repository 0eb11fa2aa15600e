"""Target of the front door of ``python -m local``: HTTP, server-sent events, WebSockets.

An input is a list of exchanges as JSON: requests of clients and of a worker, or a WebSocket with
the messages that its client sends. They begin one after the other, and the next begins while an
earlier one waits. ``{id}`` stands for the id of the last job, ``{token}`` for the workers' token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from benchmarks.fuzz.requests import Broken
from local.app import Options, build
from local.queue.limits import Limits

Application = Callable[..., Any]
_TOKEN = "workers"
_MOST = 12  # exchanges of an input
_TURN_S = 0.003  # until the next exchange begins
_LEAVING_S = 2.0  # until an exchange whose client has left has ended
_RENEWED = 500  # inputs for which one platform keeps its jobs
_LIMITS = Limits(
    socket_pause_s=0.001, socket_polls=3, poll_s=0.001, sync_wait_s=0.002, min_sync_wait_s=0.001,
    max_sync_wait_s=0.002, letting_go_s=0.001, cut_poll_s=0.001,
)  # fmt: skip


@dataclass
class Client:
    """One end of an exchange, as ASGI sees it.

    Attributes:
        messages: what is sent to the server, before the client leaves.
        sent: what the server has sent.
        left: set when the client leaves.
    """

    messages: list[dict[str, Any]]
    kind: str
    sent: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> dict[str, Any]:
        """Return the next message."""
        if self.messages:
            return self.messages.pop(0)
        await self.left.wait()
        return {"type": f"{self.kind}.disconnect", "code": 1001}

    async def send(self, message: dict[str, Any]) -> None:
        """Keep what the server sends; a header must be one line."""
        for pair in message.get("headers", ()):
            if any(byte in part for part in pair for byte in b"\r\n\0"):
                raise Broken(f"a header of several lines: {pair!r}")
        self.sent.append(message)

    @property
    def body(self) -> bytes:
        """What the server has answered with."""
        return b"".join(message.get("body", b"") for message in self.sent)


@contextmanager
def front() -> Iterator[Callable[[bytes], None]]:
    """Lend the front door, with its queues and without a worker."""
    count, application = 0, _built()
    with asyncio.Runner() as runner:

        def feed(content: bytes) -> None:
            nonlocal count, application
            count += 1
            if count % _RENEWED == 0:
                application = _built()
            try:
                exchanges = json.loads(content)
            except (ValueError, RecursionError):
                return
            if isinstance(exchanges, list):
                runner.run(_played(application, exchanges[:_MOST]))

        yield feed


def _built() -> Application:
    return build(Options(token=_TOKEN, limits=_LIMITS))[0]


async def _played(application: Application, exchanges: Sequence[Any]) -> None:
    job, playing = "none", list[tuple[Client, asyncio.Task[None]]]()
    for exchange in exchanges:
        if not isinstance(exchange, dict):
            continue
        client, scope = _begun(exchange, job)
        task = asyncio.create_task(application(scope, client.receive, client.send))
        playing.append((client, task))
        await asyncio.wait({task}, timeout=_TURN_S)
        job = _job_of(client) or job
    for client, _ in playing:
        client.left.set()
    tasks = [task for _, task in playing]
    _, waiting = await asyncio.wait(tasks, timeout=_LEAVING_S) if tasks else (set(), set())
    if waiting:
        raise Broken("an exchange goes on although its client has left")
    for client, task in playing:
        task.result()
        _check(client)


def _begun(exchange: Mapping[str, Any], job: str) -> tuple[Client, dict[str, Any]]:
    """Return an exchange's client, and its scope."""

    def filled(name: str) -> str:
        value = exchange.get(name, "")
        text = value if isinstance(value, str) else json.dumps(value)
        return text.replace("{id}", job).replace("{token}", _TOKEN)

    messages = exchange.get("messages")
    path, query = filled("path"), quote(filled("query"), "=&", errors="replace")
    scope = {
        "method": filled("method") or "GET", "http_version": "1.1",
        "path": path, "raw_path": quote(path, errors="replace").encode(), "root_path": "",
        "query_string": query.encode(), "headers": _headers(exchange.get("headers")),
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1),
    }  # fmt: skip
    if messages is None:
        body = filled("body").encode("utf-8", "surrogatepass")
        request = {"type": "http.request", "body": body, "more_body": False}
        return Client([request], "http"), {**scope, "type": "http", "scheme": "http"}
    frames = [_frame(each) for each in (messages if isinstance(messages, list) else [messages])]
    socket = {"type": "websocket", "scheme": "ws", "subprotocols": []}
    denial = {"extensions": {"websocket.http.response": {}}}
    connect = {"type": "websocket.connect"}
    return Client([connect, *frames], "websocket"), {**scope, **socket, **denial}


def _headers(given: Any) -> list[tuple[bytes, bytes]]:
    named = {"host": "127.0.0.1", **(given if isinstance(given, dict) else {})}
    return [
        (name.lower().encode("utf-8", "replace"), str(value).encode("utf-8", "replace"))
        for name, value in named.items()
    ]


def _frame(content: Any) -> dict[str, Any]:
    """Return a frame of text, or of bytes for what is no text."""
    data = (
        {"text": content} if isinstance(content, str) else {"bytes": json.dumps(content).encode()}
    )
    return {"type": "websocket.receive", **data}


def _job_of(client: Client) -> str | None:
    """Return the id of the job that an answer is about."""
    try:
        answer = json.loads(client.body)
    except (ValueError, RecursionError):
        return None
    answer = answer[0] if isinstance(answer, list) and answer else answer
    found = answer.get("id") if isinstance(answer, dict) else None
    return found if isinstance(found, str) else None


def _check(client: Client) -> None:
    """Check what a client was sent: an answer, and events that each are a line of JSON."""
    starts = [message for message in client.sent if message["type"] == "http.response.start"]
    if client.kind == "http" and len(starts) != 1:
        raise Broken(f"{len(starts)} answers")
    for message in client.sent:
        if message["type"] == "websocket.send":
            json.loads(message["text"])
    headers = dict(starts[0]["headers"]) if starts else {}
    if headers.get(b"content-type", b"").startswith(b"application/json"):
        json.loads(client.body)

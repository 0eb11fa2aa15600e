"""A TCP proxy on loopback that does to connections what networks do to them."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from contextlib import suppress

from benchmarks.chaos.shuffle import Shuffle

_PIECE = 65536
_ANSWERS = {
    "429": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\n",
    "503": b"HTTP/1.1 503 Service Unavailable\r\n",
}
_NO_BODY = b"Content-Length: 0\r\nConnection: close\r\n\r\n"


class Link:
    """A port that leads to another one.

    Modes: ``pass``; ``cut`` (each connection is reset), ``stall`` (nothing passes), ``slow`` (each
    piece is late), ``half`` (a connection is reset in the middle of an answer), ``lost`` (a request
    arrives and its answer does not), ``reorder`` (pieces of different connections pass in another
    order than they came), ``429`` and ``503`` (the proxy answers).

    Args:
        name: what its faults call it.
        port: where it leads.
        seed: of the delays and of the places where answers are cut.
    """

    def __init__(self, name: str, port: int, seed: int) -> None:
        self.name = name
        self.target = port
        self.port = 0
        self.mode = "pass"
        self.happened: Counter[str] = Counter()
        self._chance = random.Random(f"{name} {seed}")
        self._shuffle = Shuffle(self._chance, self.happened)
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._changed = asyncio.Event()

    @property
    def url(self) -> str:
        """The address of the port, by a name that has to be looked up."""
        return f"http://localhost:{self.port}"

    async def start(self) -> None:
        """Listen on a free port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and reset all connections."""
        if self._server is not None:
            self._server.close()
            self._reset_all()
            await self._server.wait_closed()

    def set_mode(self, mode: str) -> None:
        """Change the mode, for open connections too."""
        self.mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode == "cut" or mode in _ANSWERS:
            self._reset_all()

    def _reset_all(self) -> None:
        for writer in list(self._open):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            await self._lead(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode == "cut":
            self.happened["cut"] += 1
            return
        if (mode := self.mode) in _ANSWERS:
            self.happened[mode] += 1
            await reader.read(_PIECE)
            writer.write(_ANSWERS[mode] + _NO_BODY)
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return
        there, onward = await asyncio.open_connection("127.0.0.1", self.target)
        self._open.add(onward)
        try:
            sides = (
                self._pump(reader, onward, answer=False),
                self._pump(there, writer, answer=True),
            )
            tasks = [asyncio.ensure_future(side) for side in sides]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._open.discard(onward)
            onward.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answer: bool
    ) -> None:
        """Pass pieces on until either side ends or a fault ends the connection."""
        while piece := await source.read(_PIECE):
            while self.mode == "stall":
                self.happened["stall"] += 1
                await self._changed.wait()
            if self.mode == "slow":
                self.happened["slow"] += 1
                await asyncio.sleep(self._chance.uniform(0.02, 0.6))
            if self.mode == "reorder":
                await self._shuffle.turn()
            if answer and self.mode == "lost":
                self.happened["lost"] += 1
                return
            if answer and self.mode == "half" and self._chance.random() < 0.5:
                self.happened["half"] += 1
                sink.write(piece[: self._chance.randrange(len(piece))])
                with suppress(OSError):
                    await sink.drain()
                return
            sink.write(piece)
            await sink.drain()

"""Files of a model at another place than the hub: listed, read in parts, and downloaded.

A folder or a file has a version: a hash over the names, sizes and tags of what is there. A download
is resumed where it was interrupted, as long as the version is the same.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import logging
import re
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from models.errors import WeightsUnavailable
from models.weights import web
from models.weights.objects import Objects
from models.weights.places import Places
from models.weights.sources import RemoteSource
from models.weights.web import Entry
from models.weights.weblinks import WebFile, WebFolder

log = logging.getLogger(__name__)

_TRIES = 4
_PAUSE_S = 1.0  # before the third try; the second follows at once
_CHUNK_BYTES = 1 << 20
_MOST_FILES = 5_000
_T = TypeVar("_T")
_STEP = re.compile(r"[^/\\\x00-\x1f]+")


class Files(Protocol):
    """Files below an address; names are paths with ``/``."""

    def listing(self) -> Mapping[str, Entry]:
        """Return what is there."""

    def open(
        self, name: str, start: int, end: int | None, tag: str
    ) -> AbstractContextManager[http.client.HTTPResponse]:
        """Lend an answer with the bytes of a file from ``start`` on."""


@dataclass(frozen=True)
class Remote:
    """What an address names, as it is now.

    Attributes:
        files: reads it.
        entries: by name.
        version: sixteen hexadecimal digits, others for other content.
    """

    files: Files
    entries: Mapping[str, Entry]
    version: str

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return the bytes of a file from ``start`` to ``end``.

        Raises:
            WeightsUnavailable: the host refuses, or does not answer.
        """
        entry = self.entries[name]
        stop = entry.size_bytes if end is None else min(end, entry.size_bytes)

        def once() -> bytes:
            with self.files.open(name, start, stop, entry.tag) as answer:
                skipped = start if answer.status == 200 else 0
                content = answer.read(skipped + stop - start)[skipped:]
            if len(content) != stop - start:
                raise ConnectionError("the answer is incomplete")
            return content

        return _tried(once)

    def download(self, name: str, into: Path) -> None:
        """Bring a file into a folder; go on where an interrupted download ended.

        Raises:
            WeightsUnavailable: the host refuses or sends something else.
            OSError: the file cannot be written.
        """
        entry, target = self.entries[name], into / name
        if target.is_file() and target.stat().st_size == entry.size_bytes:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.part")
        partial.touch()
        _tried(lambda: self._go_on(name, entry, partial), lambda: partial.stat().st_size)
        partial.rename(target)

    def _go_on(self, name: str, entry: Entry, partial: Path) -> None:
        begun = partial.stat().st_size
        if begun > entry.size_bytes:
            partial.unlink()
            begun = 0
        if begun == entry.size_bytes:
            return
        with self.files.open(name, begun, entry.size_bytes, entry.tag) as answer:
            # A host that knows no ranges sends the whole file.
            with partial.open("ab" if answer.status == 206 else "wb") as file:
                left = entry.size_bytes - (begun if answer.status == 206 else 0)
                while left and (chunk := answer.read(min(left, _CHUNK_BYTES))):
                    left -= len(chunk)
                    file.write(chunk)
        if left:
            raise ConnectionError(f"{name} has {left} bytes more")


def look(source: RemoteSource, places: Places) -> Remote:
    """List what an address names.

    Raises:
        WeightsUnavailable: it cannot be reached, is empty, or holds names that lead elsewhere.
    """
    files: Files
    if source.url.startswith("s3://"):
        if places.store is None:
            raise WeightsUnavailable(
                f"{source.shown} needs BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID, "
                "BUCKET_SECRET_ACCESS_KEY and BUCKET_NAME: the store of the bucket, and its keys."
            )
        files = Objects(places.store, source.url, single=source.file is not None)
    else:
        files = WebFile(source.url, source.file) if source.file else WebFolder(source.url)
    try:
        entries: Mapping[str, Entry] = _tried(files.listing)
    except WeightsUnavailable as error:
        raise WeightsUnavailable(f"{source.shown}: {error.message}") from None
    if not entries:
        raise WeightsUnavailable(f"{source.shown} holds no files; see the spelling.")
    for name in entries:
        _check_name(name)
    if len(entries) > _MOST_FILES:
        raise WeightsUnavailable(
            f"{source.shown} holds {len(entries)} files, more than {_MOST_FILES}: name the "
            "model's own folder."
        )
    return Remote(files, entries, _version(entries))


def _version(entries: Mapping[str, Entry]) -> str:
    lines = (f"{name} {one.size_bytes} {one.tag}\n" for name, one in sorted(entries.items()))
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:16]


def _check_name(name: str) -> None:
    """See that a name stays in its folder, on this machine too."""
    steps = name.split("/")
    if not all(_STEP.fullmatch(step) and step not in (".", "..") for step in steps):
        raise WeightsUnavailable(f"A file is named {name!r:.200}, which leads out of its folder.")


def _tried(action: Callable[[], _T], progress: Callable[[], int] = lambda: 0) -> _T:
    """Try several times; a try that has made progress does not count.

    Raises:
        WeightsUnavailable: no try has succeeded.
    """
    tries, done = 0, progress()
    while True:
        try:
            return action()
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and not _is_of_the_network(error):
                raise
            tries = 1 if progress() > done else tries + 1
            done = progress()
            if tries >= _TRIES:
                reason = str(error) or type(error).__name__
                raise WeightsUnavailable(f"The host cannot be reached ({reason:.200}).") from None
            log.debug("another try: %s", error)
            time.sleep(_PAUSE_S * (tries - 1))


def _is_of_the_network(error: OSError) -> bool:
    """Whether an error is the connection's, and not that of this machine's disk."""
    kinds = (web.Busy, ConnectionError, TimeoutError, ssl.SSLError, socket.gaierror)
    return isinstance(error, kinds) or error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)

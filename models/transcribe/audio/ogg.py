"""The links of a chained Ogg file (RFC 3533, section 4): several streams, one after the other.

A player of radio saves such files: each song is a link. Links may differ in rate, channels and
codec; FFmpeg reads the first kind only. Each link is a whole Ogg file of its own.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

_MAGIC = b"OggS"
_PAGE = struct.Struct(
    "<4sBBqIIIB"
)  # magic, version, kind, granule, serial, number, checksum, sizes
_FIRST_PAGE = 2  # the bit of a page that begins a logical stream
_BLOCK = 1 << 16
_MOST_LINKS = 1000  # of a file; what follows is left to FFmpeg


class Part(io.RawIOBase):
    """A part of a file, as a file.

    Args:
        path: of the whole.
        start, end: of the part, in bytes.
    """

    def __init__(self, path: str, start: int, end: int) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 - closed by close
        self._start, self._end = start, end
        self._file.seek(start)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def seekable(self) -> bool:
        """Say that it can be sought in."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._end}
        return self._file.seek(max(self._start, base[whence] + offset)) - self._start

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes."""
        left = max(0, self._end - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))


def links(path: str) -> list[tuple[int, int]]:
    """Return where the links of a file lie, in bytes; empty where it is no chained Ogg file."""
    starts = [0]
    within = False  # behind the first pages of a link's streams
    for at, kind in _pages(path):
        if kind & _FIRST_PAGE and within:
            starts.append(at)
        within = not kind & _FIRST_PAGE
        if len(starts) == _MOST_LINKS:
            break
    ends = [*starts[1:], os.path.getsize(path)]
    return list(zip(starts, ends, strict=True)) if len(starts) > 1 else []


def _pages(path: str) -> Iterator[tuple[int, int]]:
    """Yield where each page begins, and its kind."""
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return
        at: int | None = 0
        while at is not None:
            file.seek(at)
            header = file.read(_PAGE.size)
            if len(header) < _PAGE.size:
                return
            magic, _, kind, *_, sizes = _PAGE.unpack(header)
            if magic != _MAGIC:
                at = _next_page(file, at + 1)
                continue
            yield at, kind
            at += _PAGE.size + sizes + sum(file.read(sizes))


def _next_page(file: BinaryIO, at: int) -> int | None:
    """Return where the next page begins, behind damage; None where there is no more."""
    file.seek(at)
    while block := file.read(_BLOCK):
        if (found := block.find(_MAGIC)) >= 0:
            return at + found
        if len(block) < _BLOCK:
            return None
        at += len(block) - len(_MAGIC)  # which may lie across two blocks
        file.seek(at)
    return None

"""The links of a chained Ogg file (RFC 3533, section 4): several streams, one after the other.

Radio recorders write such files, with one link per song. Links may differ in sample rate, channels
and codec, and FFmpeg reads only those with the parameters of the first. Each link is a complete Ogg
file.
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
_FIRST_PAGE = 2  # the flag of a page that begins a logical stream
_BLOCK = 1 << 16
_MOST_LINKS = 1000  # per file; from the last on, FFmpeg reads the rest as one


class Part(io.RawIOBase):
    """A byte range of a file, as a file.

    Args:
        path: the path of the whole file.
        start, end: the range, in bytes.
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
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position in bytes, from the start of the range."""
        return self._file.tell() - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to a position, and return it."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._file.tell(), os.SEEK_END: self._end}
        return self._file.seek(max(self._start, base[whence] + offset)) - self._start

    def read(self, size: int = -1) -> bytes:
        """Return at most ``size`` bytes."""
        left = max(0, self._end - self._file.tell())
        return self._file.read(left if size < 0 else min(size, left))


def links(path: str) -> list[tuple[int, int]]:
    """Return the byte ranges of a file's links; empty if it is not a chained Ogg file."""
    starts = [0]
    within = False  # whether the first pages of a link's streams have been passed
    for at, kind in _pages(path):
        if kind & _FIRST_PAGE and within:
            starts.append(at)
        within = not kind & _FIRST_PAGE
        if len(starts) == _MOST_LINKS:
            break
    ends = [*starts[1:], os.path.getsize(path)]
    return list(zip(starts, ends, strict=True)) if len(starts) > 1 else []


def _pages(path: str) -> Iterator[tuple[int, int]]:
    """Yield the offset and the flags of each page."""
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
    """Return the offset of the next page after damage; None if there is none."""
    file.seek(at)
    while block := file.read(_BLOCK):
        if (offset := block.find(_MAGIC)) >= 0:
            return at + offset
        if len(block) < _BLOCK:
            return None
        at += len(block) - len(_MAGIC)  # the magic may lie across two blocks
        file.seek(at)
    return None

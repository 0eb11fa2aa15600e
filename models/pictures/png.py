"""The chunks of a PNG (ISO/IEC 15948) that affect its pixels; all others are removed.

Pillow refuses a file whose metadata is damaged, or decompresses to more than a megabyte. Metadata
affects no pixel, so it is removed before Pillow reads the file.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_MOST_CHUNKS = 100_000  # 25 MB in chunks of 256 bytes
_MOST_TEXT = 1_000_000  # bytes after decompression; Pillow's own limit
_MOST_PROFILE = 8_000_000  # bytes; the largest printer profiles have about 4 MB
# Keywords of texts that may hold the orientation: ImageMagick's, and that of XMP.
_TURNING = (b"Raw profile type exif", b"XML:com.adobe.xmp")
_NEEDED = frozenset({b"tRNS", b"eXIf"})
_TEXTS = frozenset({b"tEXt", b"zTXt", b"iTXt"})


class Plain(NamedTuple):
    """A PNG reduced to the chunks that affect its pixels, and its colour profile."""

    content: bytes
    profile: bytes | None


class _Chunk(NamedTuple):
    name: bytes
    data: memoryview
    whole: memoryview  # with length, name and checksum

    @property
    def ancillary(self) -> bool:
        return bool(self.name[0] & 0x20)

    @property
    def intact(self) -> bool:
        return zlib.crc32(self.data, zlib.crc32(self.name)) == int.from_bytes(self.whole[-4:])


def plain(content: bytes) -> Plain:
    """Remove chunks that affect no pixel, and ancillary chunks with a wrong checksum.

    Of an animation, the first picture remains. A truncated or malformed rest is kept, for the
    decoder to refuse.

    Raises:
        ValueError: there are too many chunks.
    """
    kept: list[bytes | memoryview] = [SIGNATURE]
    profile: bytes | None = None
    seen: set[bytes] = set()
    end = len(SIGNATURE)
    for chunk in _chunks(content):
        end += len(chunk.whole)
        if not chunk.ancillary:
            kept.append(chunk.whole)
        elif chunk.name == b"iCCP" and profile is None and chunk.intact:
            profile = _profile(bytes(chunk.data))
        elif _is_needed(chunk, seen) and chunk.intact:
            kept.append(chunk.whole)
    kept.append(memoryview(content)[end:])
    return Plain(b"".join(kept), profile)


def depth(content: bytes) -> int:
    """Return the bits of a sample or of a palette index."""
    return content[24]


def _chunks(content: bytes) -> Iterator[_Chunk]:
    """Yield the chunks up to the end, or to the first malformed one."""
    view, place = memoryview(content), len(SIGNATURE)
    for _ in range(_MOST_CHUNKS):
        if place + 12 > len(content):
            return
        length, name = struct.unpack_from(">I4s", content, place)
        end = place + 12 + length
        if end > len(content) or not name.isalpha():
            return
        yield _Chunk(name, view[place + 8 : end - 4], view[place:end])
        place = end
    raise ValueError(f"a PNG of more than {_MOST_CHUNKS} chunks")


def _is_needed(chunk: _Chunk, seen: set[bytes]) -> bool:
    """Whether the decoder needs an ancillary chunk; only the first of each kind is kept."""
    if chunk.name not in _TEXTS:
        kind = chunk.name
        needed = kind in _NEEDED
    else:
        kind, _, rest = bytes(chunk.data[:200]).partition(b"\0")
        needed = kind in _TURNING and _is_short(chunk, len(kind) + 1, rest)
    if not needed or kind in seen:
        return False
    seen.add(kind)
    return True


def _is_short(chunk: _Chunk, start: int, head: bytes) -> bool:
    """Whether a text decompresses to at most a megabyte."""
    data = bytes(chunk.data)
    if chunk.name == b"zTXt":
        return _inflated(data[start + 1 :], _MOST_TEXT) is not None
    if chunk.name == b"iTXt" and head[:1] == b"\1":  # compressed, after a language and a keyword
        after = data.split(b"\0", 4)  # keyword, flag and method, language, translated keyword
        return len(after) == 5 and _inflated(after[4], _MOST_TEXT) is not None
    return len(data) <= _MOST_TEXT


def _profile(data: bytes) -> bytes | None:
    name, _, rest = data.partition(b"\0")
    return _inflated(rest[1:], _MOST_PROFILE) if name and rest[:1] == b"\0" else None


def _inflated(data: bytes, most: int) -> bytes | None:
    """Decompress data; None if it is damaged or exceeds ``most`` bytes."""
    inflater = zlib.decompressobj()
    try:
        plain = inflater.decompress(data, most)
    except zlib.error:
        return None
    return None if inflater.unconsumed_tail else plain

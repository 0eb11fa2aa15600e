"""JPEG files (ITU-T T.81): counting their scans, and completing a missing end marker."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

START, END = b"\xff\xd8", b"\xff\xd9"
_SCAN = b"\xff\xda"
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # the others are tables
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # of a segment, or of the end
_MOST_SEGMENTS = 10_000
_LAST = 63  # index of a block's last coefficient
_RESTARTS = range(0xD0, 0xD8)
_CHANCE = random.Random(1)
_NOISE = [_CHANCE.randbytes(64).replace(b"\xff", b"\x9c") for _ in range(6)]
_PATTERNS = (b"\x00", b"\xff\x00", b"\x55", b"\xaa", b"\x33", b"\xcc")
# Bytes to append to a truncated file; none could be a marker.
_ENDINGS = (b"", *(pattern * 64 for pattern in _PATTERNS), *_NOISE)
TRIES = len(_ENDINGS) + 2


def scans(content: bytes) -> int:
    """Return the number of scans; each costs a decoder as much time as a picture."""
    return content.count(_SCAN)


def completed(content: bytes, digest: Callable[[bytes], bytes]) -> bytes | None:
    """Complete a file that lacks only its end marker; None if it lacks more.

    A decoder does not tell whether the last scan was complete. So the file is decoded with several
    different endings: if no pixel depends on the ending, nothing is missing.

    Args:
        content: a file that the decoder reports as truncated.
        digest: decodes a file, and returns a digest of its pixels.
    """
    if content.endswith(END) or not _has_all_scans(content):
        return None
    content = content.removesuffix(END[:1])  # half of a marker
    files = (content + ending + END for ending in (*_ENDINGS, *_restarted(content)))
    pixels = digest(next(files))
    return content + END if all(digest(file) == pixels for file in files) else None


def _restarted(content: bytes) -> list[bytes]:
    """Return endings that begin a file's next restart interval, or its first."""
    last = max(_RESTARTS, key=lambda marker: content.rfind(bytes((0xFF, marker))))
    following = _RESTARTS[(last - _RESTARTS[0] + 1) % len(_RESTARTS)]
    return [bytes((0xFF, marker)) + _NOISE[0] for marker in {_RESTARTS[0], following}]


def _has_all_scans(content: bytes) -> bool:
    """Whether the scans contain each coefficient of each component in full precision."""
    missing: set[tuple[int, int]] = set()
    framed = False
    for marker, segment in _segments(content):
        if marker in _FRAMES and len(segment) > 5:
            framed = True
            last = _LAST if marker in _PROGRESSIVE else 0
            components = segment[6::3][: segment[5]]
            missing = {(name, place) for name in components for place in range(last + 1)}
        elif marker == _SCAN[1]:
            missing -= _brought(segment)
    return framed and not missing


def _brought(segment: bytes) -> set[tuple[int, int]]:
    """Return component and index of each coefficient that a scan brings to full precision."""
    if not segment or len(segment) < 4 + 2 * segment[0]:
        return set()
    first, last, precision = segment[-3:]
    if precision & 0x0F:  # a later scan refines these bits
        return set()
    components = segment[1 : 1 + 2 * segment[0] : 2]
    places = range(first, min(last, _LAST) + 1)
    return {(name, place) for name in components for place in places}


def _segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers with their segments; entropy-coded data is skipped."""
    place = len(START)
    for _ in range(_MOST_SEGMENTS):
        marker = _MARKER.search(content, place)
        if marker is None or marker[0] == END:
            return
        place = marker.end()
        length = int.from_bytes(content[place : place + 2])
        if length < 2 or place + length > len(content):
            return
        yield marker[0][1], content[place + 2 : place + length]
        place += length

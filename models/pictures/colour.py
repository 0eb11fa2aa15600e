"""Colours by an ICC profile (ISO 15076-1), converted to sRGB.

Profiles come from clients. The library sees only the tags that a conversion of pixels needs, and
only tables that are as large as their headers claim: others cost hours or gigabytes.
"""

from __future__ import annotations

import functools
import io
import itertools
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

_HEADER, _ENTRY, _TABLE_HEADER, _MOST_TAGS = 128, 12, 32, 100
_CLASSES = frozenset({b"scnr", b"mntr", b"prtr", b"spac"})
_MATRIX = frozenset(
    {b"wtpt", b"chad", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC"}
)
_TABLE = b"A2B0"  # of the perceptual intent, which browsers use
_BASES = {b"RGB ": "RGB", b"GRAY": "L", b"CMYK": "CMYK"}
# Of LittleCMS: no optimisation for 256 greys, its default for matrices, a fine table for inks.
_FLAGS = {"L": 0x0100, "RGB": 0, "CMYK": 0x0400}
_GREYS = frozenset({"1", "L", "LA"})
_UNSEEN = 2  # of 255: smaller differences are rounding, and the profile is sRGB by another name
_STEPS = 9  # sampled values per channel


def srgb(picture: Any, profile: bytes | None) -> Any:
    """Return the colours of a picture in sRGB, in RGB, without its transparency.

    A profile that is unusable, or made for another colour space, changes nothing.

    Args:
        picture: eight bits per channel, in any mode but a palette.
        profile: an ICC profile; None = sRGB.
    """
    base = None if profile is None else _base(picture.mode, profile[16:20])
    convert = None if base is None else _conversion(profile or b"", base)
    if convert is None:
        return picture.convert("RGB")
    return convert(picture if picture.mode == base else picture.convert(base))


def _base(mode: str, space: bytes) -> str | None:
    """Return the mode that a profile expects of a picture; None if the profile does not fit."""
    base = _BASES.get(space)
    fits = (base == "L") <= (mode in _GREYS) and (base == "CMYK") == (mode == "CMYK")
    return base if fits else None


@functools.lru_cache(maxsize=8)
def _conversion(profile: bytes, base: str) -> Callable[[Any], Any] | None:
    """Build the conversion to sRGB; None if it is impossible or would change nothing."""
    from PIL import ImageCms

    safe = _safe(profile)
    if safe is None:
        return None
    target, flags = ImageCms.createProfile("sRGB"), ImageCms.Flags(_FLAGS[base])
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(safe))
        transform = ImageCms.buildTransform(source, target, base, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError):
        return None
    convert = partial(_toned, transform.apply) if base == "L" else transform.apply
    return None if base != "CMYK" and _changes_nothing(convert, base) else convert


def _toned(convert: Callable[[Any], Any], grey: Any) -> Any:
    """Convert a grey picture by a table of its 256 shades."""
    from PIL import Image

    shades = convert(Image.frombytes("L", (256, 1), bytes(range(256))))
    return Image.merge("RGB", [grey.point(band.tobytes()) for band in shades.split()])


def _changes_nothing(convert: Callable[[Any], Any], base: str) -> bool:
    """Whether a conversion leaves samples of the whole colour space as they are."""
    from PIL import Image

    channels = len(base)
    shades = [round(255 * step / (_STEPS - 1)) for step in range(_STEPS)]
    colours = bytes(itertools.chain(*itertools.product(shades, repeat=channels)))
    plain = Image.frombytes(base, (_STEPS**channels, 1), colours)
    before, after = plain.convert("RGB").tobytes(), convert(plain).tobytes()
    return all(abs(old - new) <= _UNSEEN for old, new in zip(before, after, strict=True))


def _safe(profile: bytes) -> bytes | None:
    """Reduce a profile to the tags that a conversion needs; None if it is truncated."""
    if len(profile) < _HEADER + 4 or profile[12:16] not in _CLASSES:
        return None
    count = min(int.from_bytes(profile[_HEADER : _HEADER + 4]), _MOST_TAGS)
    if _HEADER + 4 + _ENTRY * count > len(profile):
        return None
    tags: dict[bytes, bytes] = {}
    for index in range(count):
        name, start, size = struct.unpack_from(">4sII", profile, _HEADER + 4 + _ENTRY * index)
        data = profile[start : start + size]
        if len(data) == size and (name in _MATRIX or (name == _TABLE and _is_whole(data))):
            tags[name] = data
    return _packed(profile[:_HEADER], tags)


def _is_whole(table: bytes) -> bool:
    """Whether a colour table is as large as its dimensions claim; the library trusts them."""
    if len(table) < _TABLE_HEADER:
        return False
    kind, inputs, outputs = table[:4], table[8], table[9]
    if outputs != 3 or not 1 <= inputs <= 4:
        return False
    if kind in (b"mft1", b"mft2"):
        samples: int = table[10] ** inputs * outputs
        return samples * int(kind[3:]) <= len(table)
    if kind != b"mAB ":
        return False
    start = int.from_bytes(table[24:28])
    if not start:
        return True
    grid = table[start : start + 20]
    samples = outputs
    for points in grid[:inputs]:
        samples *= points
    return len(grid) == 20 and samples * grid[16] <= len(table)


def _packed(header: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Assemble a profile from a header and tags."""
    table, data = [struct.pack(">I", len(tags))], []
    place = _HEADER + 4 + _ENTRY * len(tags)
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table.append(struct.pack(">4sII", name, place, len(content)))
        data.append(padded)
        place += len(padded)
    return b"".join([struct.pack(">I", place), header[4:], *table, *data])

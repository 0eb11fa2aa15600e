"""ICC profiles (ISO 15076-1) as cameras, displays and presses have them, made by hand."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

WHITE = (0.9642, 1.0, 0.8249)  # D50, that of the profiles' own space
SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
ADOBE_GAMMA = 563 / 256
# What each ink of a press is in full, on paper that is white, in sRGB from 0 to 1.
INKS = np.array(((0.05, 0.55, 0.8), (0.85, 0.15, 0.5), (0.98, 0.88, 0.1), (0.15, 0.15, 0.15)))


def profile(kind: bytes, space: bytes, pcs: bytes, tags: Mapping[bytes, bytes]) -> bytes:
    """A profile of version 2 with these tags."""
    table, data, place = b"", b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name, place + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s", place + len(data), b"", 0x02400000, kind, space, pcs)
    head = head.ljust(36, b"\0") + b"acsp"
    head = head.ljust(68, b"\0") + xyz(WHITE)[8:]
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(one * 65536) for one in values))


def gamma(value: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(value * 256))


def srgb_curve() -> bytes:
    steps = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
    return b"para\0\0\0\0\0\3\0\0" + struct.pack(">5i", *(round(one * 65536) for one in steps))


def of_display(primaries: Sequence[Sequence[float]], curve: bytes, **more: bytes) -> bytes:
    """A profile of three primaries and one curve."""
    tags = {b"wtpt": xyz(WHITE)}
    for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {name + b"XYZ": xyz(primary), name + b"TRC": curve}
    tags |= {name.encode(): content for name, content in more.items()}
    return profile(b"mntr", b"RGB ", b"XYZ ", tags)


def of_grey(curve: bytes) -> bytes:
    return profile(b"mntr", b"GRAY", b"XYZ ", {b"wtpt": xyz(WHITE), b"kTRC": curve})


def of_press(grid: int = 9) -> bytes:
    """A profile of four inks: a table from their amounts to L*a*b*, of eight bits."""
    shades = [index / (grid - 1) for index in range(grid)]
    colours = printed(np.array(list(itertools.product(shades, repeat=4))))
    lab = _lab(colours)
    packed = np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], -1)
    return profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table(4, 3, grid, packed)})


def table(inputs: int, outputs: int, grid: int, samples: Any) -> bytes:
    """A table of eight bits (lut8Type), whose curves change nothing."""
    head = b"mft1\0\0\0\0" + bytes((inputs, outputs, grid, 0))
    matrix = struct.pack(">9i", *(65536 * (index % 4 == 0) for index in range(9)))
    curves = bytes(range(256))
    body = np.rint(np.asarray(samples)).clip(0, 255).astype(np.uint8).tobytes()
    return head + matrix + curves * inputs + body + curves * outputs


def printed(amounts: Any) -> Any:
    """Inks on paper, in sRGB from 0 to 1; amounts from 0 to 1, shape (…, 4)."""
    return (1 - amounts[..., None] * (1 - INKS)).prod(axis=-2)


def converted(colours: Any, primaries: Any, linear: Any) -> Any:
    """Colours in sRGB, from 0 to 255, by the formulas; out of its gamut they are cut off.

    Args:
        colours: from 0 to 255, shape (…, 3).
        primaries: of their space.
        linear: its curve, from 0 to 1.
    """
    light = linear(np.asarray(colours) / 255) @ np.array(primaries) @ np.linalg.inv(SRGB)
    return encoded(light.clip(0, 1)) * 255


def encoded(light: Any) -> Any:
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def decoded(value: Any) -> Any:
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def _lab(colours: Any) -> Any:
    relative = decoded(colours) @ np.array(SRGB) / np.array(WHITE)
    root = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    x, y, z = root[:, 0], root[:, 1], root[:, 2]
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)

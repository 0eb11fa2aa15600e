"""Recordings that want to cost much."""

from __future__ import annotations

import gc
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tests.support.children import children


@contextmanager
def nothing_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary files go to a new folder, and are gone from it at the end, as are processes."""
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    gc.collect()  # what an earlier test has left
    before = set(children())
    yield folder
    assert list(folder.iterdir()) == []
    assert set(children()) <= before


def silent_flac(path: Path, minutes: int) -> Path:
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("flac", rate=8000, layout="mono")
        for _ in range(minutes):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000 * 60), np.int16), "s16", "mono")
            frame.sample_rate = 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def flac_of_large_frames(path: Path, rate: int, count: int = 1) -> Path:
    """As many samples as frames of FLAC may have, at a rate that no encoder of FFmpeg's takes.

    By hand (RFC 9639): each of its two channels is the same sample again and again.
    """
    information = struct.pack(">HH", 65535, 65535) + bytes(6)
    information += struct.pack(">Q", rate << 44 | 1 << 41 | 15 << 36 | 65535) + bytes(16)
    frames = b""
    for number in range(count):
        # 16 bits for the size less one
        frame = b"\xff\xf8\x70\x18" + bytes([number]) + b"\xff\xfe"
        frame += bytes([checksum(frame, 0x07, 8)]) + 2 * b"\x00\x00\x00"
        frames += frame + checksum(frame, 0x8005, 16).to_bytes(2, "big")
    path.write_bytes(b"fLaC\x80\x00\x00\x22" + information + frames)
    return path


def checksum(content: bytes, polynomial: int, bits: int) -> int:
    """A cyclic redundancy check, most significant bit first."""
    value = 0
    for byte in content:
        value ^= byte << bits - 8
        for _ in range(8):
            carry = value >> bits - 1
            value = (value << 1 & (1 << bits) - 1) ^ (polynomial if carry else 0)
    return value

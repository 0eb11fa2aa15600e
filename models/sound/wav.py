"""The header of a file of samples: RIFF WAVE, 16 bits."""

from __future__ import annotations

import struct

SAMPLE_BYTES = 2
_UNKNOWN = 0xFFFFFFFF  # what ffmpeg writes where the length is not known yet
_HEADER_BYTES = 44


def header(rate_hz: int, data_bytes: int | None, channels: int = 1) -> bytes:
    """Return the header before ``data_bytes`` of samples; None = that is not known yet."""
    riff = _UNKNOWN if data_bytes is None else data_bytes + _HEADER_BYTES - 8
    data = _UNKNOWN if data_bytes is None else data_bytes
    frame_bytes = channels * SAMPLE_BYTES
    about = (1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * SAMPLE_BYTES)
    form = struct.pack("<HHIIHH", *about)
    return (
        b"RIFF" + struct.pack("<I", riff) + b"WAVE"
        + b"fmt " + struct.pack("<I", len(form)) + form
        + b"data" + struct.pack("<I", data)
    )  # fmt: skip

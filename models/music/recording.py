"""A client's recording as stereo samples, decoded in a child process.

A crash of a decoder does not end the worker there, and a process can be killed when it takes too
long. Run as a script, this module writes signed 16-bit samples to standard output, which is an
unnamed file, and a report as JSON to a second one.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from models.sound.containers import NO_SUCH_RATE, OPEN_OPTIONS, RATES_HZ

CHANNELS = 2
_TIMEOUT_S = 60.0
_LEAST_S = 1.0  # of a recording that has a timbre, or a melody
_REASONS = {
    "media_no_audio": "it has no audio track",
    "media_empty": "there is nothing in it",
    "media_undecodable": "it is damaged, or of no known format",
    "media_rate": NO_SUCH_RATE,
    "media_too_short": f"it has less than {_LEAST_S:g} s",
    "media_decode_timeout": f"decoding it takes longer than {_TIMEOUT_S:g} s",
}
_HINT = "Send a common format such as wav, mp3, flac, ogg, m4a or webm."


async def decode(path: Path, param: str, rate_hz: int, most_s: float) -> Any:
    """Decode a recording; cancelling the caller ends the process.

    Args:
        path: the file.
        param: the client's field, for errors.
        rate_hz: of the samples that are returned.
        most_s: the longest recording that is taken.

    Returns:
        float32 of shape (channels, samples).

    Raises:
        MediaUndecodable: the file has no readable sound, or is too short or too long.
    """
    # Imported here: the child process reads this module too, and does not need them.
    import numpy as np

    from models.errors import MediaUndecodable

    code, content = await _by_child(path, rate_hz, int(most_s * rate_hz))
    sound = np.frombuffer(content, np.int16).reshape(-1, CHANNELS).T.astype(np.float32) / 32768
    if code is None and sound.shape[1] < _LEAST_S * rate_hz:
        code = "media_too_short"
    if code is not None:
        reason = _REASONS.get(code, f"it is longer than {most_s:g} s")
        raise MediaUndecodable(
            f"The recording cannot be used: {reason}. {_HINT}",
            param=param,
            code="media_undecodable" if code == "media_rate" else code,
        )
    return sound


async def _by_child(path: Path, rate_hz: int, limit: int) -> tuple[str | None, bytes]:
    """Return why a file is of no use, or its samples."""
    from models import child

    arguments = (str(path), str(rate_hz), str(limit))
    work = child.spooled("models.music.recording", *arguments, timeout_s=_TIMEOUT_S)
    try:
        async with work as (samples, report):
            if report is None:
                return "media_undecodable", b""
            code: str | None = report["code"]
            return code, samples.read() if code is None else b""
    except TimeoutError:
        return "media_decode_timeout", b""


# In the child process ----------------------------------------------------------------------------


def _main(path: str, rate_hz: int, limit: int, report: int) -> int:
    try:
        code = _decoded(path, rate_hz, limit)
    finally:
        sys.stdout.buffer.flush()
    with open(report, "w", closefd=False) as file:
        json.dump({"code": code}, file)
    return 0


def _decoded(path: str, rate_hz: int, limit: int) -> str | None:
    """Write the samples; returns why they are of no use, None if they are."""
    import av

    if Path(path).stat().st_size == 0:
        return "media_empty"
    try:
        with av.open(path, options=dict(OPEN_OPTIONS), metadata_errors="ignore") as container:
            readable = [
                stream for stream in container.streams.audio if stream.codec_context is not None
            ]
            if not readable:
                return "media_undecodable" if container.streams.audio else "media_no_audio"
            return _written(container, readable[0], rate_hz, limit)
    except av.error.FFmpegError:
        return "media_undecodable"


def _written(container: Any, stream: Any, rate_hz: int, limit: int) -> str | None:
    """Write a track's samples; a packet that is damaged is left out."""
    import av

    written = 0
    resampler = av.AudioResampler(format="s16", layout="stereo", rate=rate_hz)
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            continue
        for frame in frames:
            if frame.sample_rate not in RATES_HZ:
                return "media_rate"
            frame.pts = None
            for part in resampler.resample(frame):
                written += _write(part)
                if written > limit:
                    return "media_too_long"
    for part in resampler.resample(None):
        written += _write(part)
    return None if written else "media_undecodable"


def _write(frame: Any) -> int:
    """Write a frame of samples; returns how many."""
    samples = frame.to_ndarray()
    sys.stdout.buffer.write(samples.tobytes())
    return int(samples.size) // CHANNELS


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))

"""Decode any audio or video file to 16 kHz mono samples, in a process of its own.

A process, because PyAV's decoding beside a busy Python thread of the same process is some hundred
times slower, because a crash in a decoder must not take the worker along, and because a process
can be killed when it takes too long. Run as a script, it writes signed 16-bit samples to standard
output.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RATE_HZ = 16_000
# Containers that hold their own data. Playlists (HLS, concat, …) would open other files and URLs.
_CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpeg,mpegts,ogg,w64,wav"
)


class Undecodable(Exception):
    """The file holds no audio that can be read, or reading it took too long."""


def decode(path: Path, timeout_s: float, limit_s: float) -> Any:
    """Return float32 samples of shape (n,) in [-1, 1) at 16 kHz, mono.

    Args:
        path: the file.
        timeout_s: how long decoding may take.
        limit_s: how much audio to decode at most, in seconds of it.

    Raises:
        Undecodable: no audio, broken data, too long or too slow.
    """
    import numpy as np

    # -I: neither the environment nor this folder (whose module names are common ones) is searched.
    command = [sys.executable, "-I", __file__, str(path), str(int(limit_s * RATE_HZ))]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise Undecodable(f"decoding took longer than {timeout_s:.0f} s") from error
    if done.returncode == _TOO_LONG:
        raise Undecodable(f"it is longer than {limit_s / 3600:g} h")
    if done.returncode != 0 or not done.stdout:
        raise Undecodable("it holds no audio that can be read")
    return np.frombuffer(done.stdout, dtype=np.int16).astype(np.float32) / 32768.0


_TOO_LONG = 3


def _main(path: str, limit_samples: int) -> int:
    written = 0
    for block in _blocks(path):
        written += len(block) // 2
        if written > limit_samples:
            return _TOO_LONG
        sys.stdout.buffer.write(block)
    return 0


def _blocks(path: str) -> Iterator[bytes]:
    """Yield signed 16-bit samples, resampled as faster-whisper's own ``decode_audio`` does."""
    import av

    options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
    resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(path, options=options, metadata_errors="ignore") as container:
        for frame in _frames(container, av.error.InvalidDataError):
            if frame is not None:
                frame.pts = None  # timestamps of damaged files jump; samples are in order anyway
            for resampled in resampler.resample(frame):
                yield resampled.to_ndarray().tobytes()


def _frames(container: Any, damaged: type[Exception]) -> Iterator[Any]:
    """Yield the first audio stream's frames, skipping damaged ones, then None to flush."""
    frames = container.decode(audio=0)
    while True:
        try:
            frame = next(frames, None)
        except damaged:
            continue
        yield frame
        if frame is None:
            return


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2])))

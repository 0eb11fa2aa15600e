"""Decode any audio or video file to 16 kHz mono samples, in a process of its own.

A process, because PyAV's decoding beside a busy Python thread of the same process is some hundred
times slower, because a crash in a decoder must not take the worker along, and because a process
can be killed when it takes too long. Run as a script, it writes signed 16-bit samples to standard
output.
"""

from __future__ import annotations

import asyncio
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


async def decode(path: Path, timeout_s: float, limit_s: float) -> Any:
    """Return float32 samples of shape (n,) in [-1, 1) at 16 kHz, mono.

    Cancelling the caller ends the process.

    Args:
        path: the file.
        timeout_s: how long decoding may take.
        limit_s: how much audio to decode at most, in seconds of it.

    Raises:
        Undecodable: no audio, broken data, too long or too slow.
    """
    import numpy as np

    # -I: neither the environment nor this folder (whose module names are common ones) is searched.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", __file__, str(path), str(int(limit_s * RATE_HZ))),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(timeout_s):
            content, _ = await process.communicate()
    except TimeoutError as error:
        raise Undecodable(f"decoding took longer than {timeout_s:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await asyncio.shield(process.wait())
    if process.returncode == _TOO_LONG:
        raise Undecodable(f"it is longer than {limit_s / 3600:g} h")
    if process.returncode != 0 or not content:
        raise Undecodable("it holds no audio that can be read")
    samples = np.frombuffer(content, dtype=np.int16).astype(np.float32)
    samples /= 32768.0
    return samples


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
    """Yield the first audio stream's frames, stepping over damaged packets, then None to flush.

    Packet by packet: ``container.decode`` ends at the first damaged one, and with it the audio.
    """
    for packet in container.demux(container.streams.audio[0]):
        try:
            yield from packet.decode()
        except damaged:
            continue
    yield None


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2])))

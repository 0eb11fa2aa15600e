"""Decode any audio or video file to 16 kHz mono samples, in a process of its own.

A process, because PyAV's decoding beside a busy Python thread of the same process is some hundred
times slower, because a crash in a decoder must not take the worker along, and because a process
can be killed when it takes too long. Run as a script, it writes signed 16-bit samples to standard
output, a file that has no name, and a report as JSON to another.
"""

from __future__ import annotations

import json
import os
import sys
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RATE_HZ = 16_000
# Containers that hold their own data. Playlists (HLS, concat, …) would open other files and URLs.
_CONTAINERS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpeg,mpegts,ogg,w64,wav"
)
# Whose headers say how long the file is; others' are guesses.
_SAY_THEIR_LENGTH = frozenset({"wav", "w64", "flac", "mov", "mp4", "matroska", "webm", "aiff"})
_REASONS = {
    "media_no_audio": "it has no audio track",
    "media_empty": "there is nothing in it",
    "media_rate": "it has fewer than 2,000 samples a second",
}
_LEAST_RATE_HZ = 2000  # telephones have 8,000; at 1 Hz, 40 kB last for eleven hours
# How long sound may last for its bytes: speech in Opus has some hundreds of bytes a second. Silence
# may have thirty, so that half an hour of it is free.
_FREE_S, _MOST_S_PER_BYTE = 1800, 0.01
_CUT_OFF_S = 1.0  # missing at the end of a file that is cut off
_MOST_STRETCHES = 1000  # that are told apart; a file may have millions


class Undecodable(Exception):
    """The file cannot be written down.

    Attributes:
        code: which way it cannot: ``media_undecodable``, ``media_empty``, ``media_no_audio``,
            ``media_too_long`` or ``media_decode_timeout``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Spool:
    """Samples on disk, in a file without a name that is gone with them; int16, shape (n,).

    They are read, not mapped: what is mapped counts as memory of the process.

    Args:
        descriptor: of the file; it stays the caller's.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)
        self._length = os.fstat(descriptor).st_size // 2

    def __len__(self) -> int:
        """How many samples there are."""
        return self._length

    def __getitem__(self, where: slice) -> Any:
        """Some of them, as an array."""
        import numpy as np

        start, stop, _ = where.indices(self._length)
        content = os.pread(self._descriptor, 2 * max(0, stop - start), 2 * start)
        return np.frombuffer(content, np.int16)


@dataclass(frozen=True)
class Audio:
    """What a file holds.

    Attributes:
        samples: int16, shape (n,), 16 kHz mono; a ``Spool``.
        damaged: from when and for how long the file could not be read, in seconds; silence there.
            What follows each other is one stretch; the thousandth is all that comes after, too.
        declared_s: how long the file says that it is, where it is much shorter.
    """

    samples: Any
    damaged: tuple[tuple[float, float], ...] = ()
    declared_s: float | None = None

    @property
    def duration_s(self) -> float:
        """In seconds."""
        return len(self.samples) / RATE_HZ


async def decode(path: Path, timeout_s: float, limit_s: float) -> Audio:
    """Decode a file. Cancelling the caller ends the process; nothing is left on the disk.

    Args:
        path: the file.
        timeout_s: how long decoding may take.
        limit_s: how much audio to decode at most, in seconds of it.

    Raises:
        Undecodable: no audio, nothing in it, broken data, too long or too slow.
    """
    # Not above: the other process, which reads this module too, has no use for them.
    import asyncio
    import tempfile

    from models import child

    # Neither has a name: whatever ends this process or that one, the disk is free again.
    with tempfile.TemporaryFile() as spool, tempfile.TemporaryFile() as report:
        decoding = child.running(
            "models.transcribe.audio",
            *(str(path), str(int(limit_s * RATE_HZ)), str(report.fileno())),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=spool,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(report.fileno(),),
        )
        async with decoding as process:
            try:
                async with asyncio.timeout(timeout_s):
                    await process.wait()
            except TimeoutError as error:
                raise Undecodable(
                    "media_decode_timeout", f"decoding it took longer than {timeout_s:g} s"
                ) from error
        report.seek(0)
        return _read(process.returncode, spool, report.read(), limit_s)


def _read(status: int | None, spool: Any, report: bytes, limit_s: float) -> Audio:
    size_bytes = spool.seek(0, 2)
    told = json.loads(report) if status == 0 and report else {}
    error = told.get("error") or ("media_empty" if told and size_bytes < 2 else None)
    if error == "media_too_long":
        raise Undecodable(error, f"it is longer than {told['most_s'] / 3600:.2g} h")
    if error is not None:
        raise Undecodable("media_undecodable" if error == "media_rate" else error, _REASONS[error])
    if not told:
        raise Undecodable("media_undecodable", "it is damaged, or of no known format")
    return Audio(
        Spool(spool.fileno()),
        tuple((start, length) for start, length in told["damaged"]),
        told["declared_s"],
    )


# In the other process ----------------------------------------------------------------------------


@dataclass
class _Decoding:
    """Writes what it decodes, and notes what it could not.

    Attributes:
        write: takes blocks of samples.
        limit: how many samples it writes at most; fewer of a small file.
        damaged: from which sample, and how many.
    """

    write: Callable[[bytes], object]
    limit: int
    written: int = 0
    damaged: list[tuple[int, int]] = field(default_factory=list)
    declared_s: float | None = None
    error: str | None = None

    def run(self, path: str) -> None:
        """Decode the first audio track."""
        import av

        if os.path.isfile(path) and not os.path.getsize(path):
            self.error = "media_empty"
            return
        options = {"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"}
        with av.open(path, options=options, metadata_errors="ignore") as container:
            if not container.streams.audio:
                self.error = "media_no_audio"
                return
            bytes_s = _FREE_S + _MOST_S_PER_BYTE * os.path.getsize(path)
            self.limit = min(self.limit, round(bytes_s * RATE_HZ))
            for block in self._blocks(container):
                self.written += len(block) // 2
                if self.written > self.limit:
                    self.error = "media_too_long"
                    return
                self.write(block)
            if self.error is None:
                self._compare(container)

    def report(self) -> dict[str, Any]:
        """What the parent process is told."""
        damaged = [[round(one / RATE_HZ, 2) for one in stretch] for stretch in self.damaged]
        return {
            "error": self.error,
            "damaged": damaged,
            "declared_s": self.declared_s,
            "most_s": self.limit / RATE_HZ,
        }

    def _blocks(self, container: Any) -> Iterator[bytes]:
        """Yield signed 16-bit samples, resampled as faster-whisper's own ``decode_audio`` does."""
        import av

        def fresh() -> Any:
            return av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)

        resampler, form = fresh(), None
        for frame in self._frames(container, av.error.InvalidDataError):
            if isinstance(frame, bytes):
                yield frame
                continue
            now = (frame.format.name, frame.layout.name, frame.sample_rate)
            if frame.sample_rate < _LEAST_RATE_HZ:
                self.error = "media_rate"
                return
            if form is not None and now != form:  # it changes amid the file
                yield from _resampled(resampler, None)
                resampler = fresh()
            form = now
            for piece in _pieces(frame):
                yield from _resampled(resampler, piece)
        yield from _resampled(resampler, None)

    def _frames(self, container: Any, damaged: type[Exception]) -> Iterator[Any]:
        """Yield the frames of the first track, and silence in place of those that are damaged.

        Packet by packet: ``container.decode`` ends at the first damaged one, and with it the audio.
        """
        usual_s = 0.0
        for packet in container.demux(container.streams.audio[0]):
            try:
                for frame in packet.decode():
                    usual_s = frame.samples / frame.sample_rate
                    yield frame
            except damaged:
                known = packet.duration is not None and packet.time_base is not None
                lost_s = float(packet.duration * packet.time_base) if known else usual_s
                if 0 < lost_s < _LONGEST_PACKET_S:
                    yield self._lost(round(lost_s * RATE_HZ))

    def _lost(self, count: int) -> bytes:
        """Note that so many samples could not be read; silence in their place."""
        start, length = self.damaged[-1] if self.damaged else (0, 0)
        if self.damaged and (
            start + length == self.written or len(self.damaged) == _MOST_STRETCHES
        ):
            self.damaged[-1] = (start, length + count)
        else:
            self.damaged.append((self.written, count))
        return bytes(2 * count)

    def _compare(self, container: Any) -> None:
        """Note how long the file says that it is, where much of it is missing."""
        if container.duration is None or not self.written:
            return
        declared_s = container.duration / 1_000_000
        missing_s = declared_s - self.written / RATE_HZ
        if _SAY_THEIR_LENGTH & set(container.format.name.split(",")) and missing_s > _CUT_OFF_S:
            self.declared_s = round(declared_s, 2)


_LONGEST_PACKET_S = 10.0  # one that says more says nonsense
_LONGEST_PIECE_S = 10.0


def _pieces(frame: Any) -> Iterator[Any]:
    """A frame, in pieces if it is long: of FLAC at 1 Hz one has 18 hours, 2 GB once resampled."""
    frame.pts = None  # timestamps of damaged files jump; samples are in order anyway
    most = max(1, int(_LONGEST_PIECE_S * frame.sample_rate))
    if frame.samples <= most:
        yield frame
        return
    import av

    fifo = av.AudioFifo()
    fifo.write(frame)
    while (piece := fifo.read(most, partial=True)) is not None:
        yield piece


def _resampled(resampler: Any, frame: Any) -> Iterator[bytes]:
    for one in resampler.resample(frame):
        yield bytes(one.planes[0])[: 2 * one.samples]  # a plane may be longer


def _main(path: str, limit: int, report: int) -> int:
    decoding = _Decoding(sys.stdout.buffer.write, limit)
    try:
        decoding.run(path)
    finally:
        sys.stdout.buffer.flush()
    with open(report, "w", closefd=False) as file:
        json.dump(decoding.report(), file)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))

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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.transcribe.audio.rate import RATE_HZ as RATE_HZ  # known here, too

_REASONS = {
    "media_no_audio": "it has no audio track",
    "media_empty": "there is nothing in it",
    "media_undecodable": "it is damaged, or of no known format",
    "media_rate": "it has fewer than 2,000 samples a second",
}


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
        declared_s: how long the file says that the track is, where it is much shorter.
        notes: codes and messages of what else a client should know of the file.
    """

    samples: Any
    damaged: tuple[tuple[float, float], ...] = ()
    declared_s: float | None = None
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def duration_s(self) -> float:
        """In seconds."""
        return len(self.samples) / RATE_HZ


async def decode(path: Path, timeout_s: float, limit_s: float, *, amplify: bool = True) -> Audio:
    """Decode a file. Cancelling the caller ends the process; nothing is left on the disk.

    Args:
        path: the file.
        timeout_s: how long decoding may take.
        limit_s: how much audio to decode at most, in seconds of it.
        amplify: whether a quiet recording is made louder.

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
            "models.transcribe.audio.decoding",
            *(str(path), str(int(limit_s * RATE_HZ)), str(int(amplify)), str(report.fileno())),
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
    found: dict[str, Any] = {"error": "media_undecodable"}
    if status == 0 and report:
        found = json.loads(report)
    error = found.get("error") or ("media_empty" if size_bytes < 2 else None)
    if error == "media_too_long":
        raise Undecodable(error, f"it is longer than {found['most_s'] / 3600:.2g} h")
    if error is not None:
        raise Undecodable("media_undecodable" if error == "media_rate" else error, _REASONS[error])
    return Audio(
        Spool(spool.fileno()),
        tuple((start, length) for start, length in found["damaged"]),
        found["declared_s"],
        tuple((code, message) for code, message in found["notes"]),
    )


# In the other process ----------------------------------------------------------------------------


def _main(path: str, limit: int, amplify: bool, report: int) -> int:
    from models.transcribe.audio.decoder_process import Decoder

    try:
        found = Decoder(sys.stdout.buffer, limit, amplify=amplify).run(path)
    finally:
        sys.stdout.buffer.flush()
    with open(report, "w", closefd=False) as file:
        json.dump(found, file)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])))

"""Decode any audio or video file to 16 kHz mono samples, in a child process.

There are three reasons for a child process: PyAV decodes some hundred times slower beside a busy
Python thread of the same process, a crash in a decoder must not end the worker, and a process can
be killed when it takes too long. Run as a script, this module writes signed 16-bit samples to
standard output, which is an unnamed file, and a report as JSON to a second one.
"""

from __future__ import annotations

import json
import os
import sys
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.sound.containers import NO_SUCH_RATE
from models.transcribe.audio.rate import RATE_HZ as RATE_HZ  # re-exported

_REASONS = {
    "media_no_audio": "it has no audio track",
    "media_empty": "there is nothing in it",
    "media_undecodable": "it is damaged, or of no known format",
    "media_rate": NO_SUCH_RATE,
}


class Undecodable(Exception):
    """The file cannot be decoded.

    Attributes:
        code: the reason: ``media_undecodable``, ``media_empty``, ``media_no_audio``,
            ``media_too_long`` or ``media_decode_timeout``.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Spool:
    """Samples on disk, in an unnamed file that is deleted with this object; int16, shape (n,).

    The file is read, not mapped: mapped pages would count as memory of the process.

    Args:
        descriptor: the file's; it is duplicated, and the caller closes its own.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = os.dup(descriptor)
        weakref.finalize(self, os.close, self._descriptor)
        self._length = os.fstat(descriptor).st_size // 2

    def __len__(self) -> int:
        """The number of samples."""
        return self._length

    def __getitem__(self, where: slice) -> Any:
        """Read a slice of the samples as an array."""
        import numpy as np

        start, stop, _ = where.indices(self._length)
        content = os.pread(self._descriptor, 2 * max(0, stop - start), 2 * start)
        return np.frombuffer(content, np.int16)


@dataclass(frozen=True)
class Audio:
    """The decoded audio of a file.

    Attributes:
        samples: int16, shape (n,), 16 kHz mono; a ``Spool``.
        damaged: unreadable stretches, as start and length in seconds; they are silence in
            ``samples``. Adjacent stretches are merged, and from the thousandth on all of them.
        declared_s: the track's duration by the file's header, if the file is much shorter.
        notes: codes and messages about the file for the client.
    """

    samples: Any
    damaged: tuple[tuple[float, float], ...] = ()
    declared_s: float | None = None
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def duration_s(self) -> float:
        """The duration in seconds."""
        return len(self.samples) / RATE_HZ


async def decode(path: Path, timeout_s: float, limit_s: float, *, amplify: bool = True) -> Audio:
    """Decode a file. Cancelling the caller kills the process; nothing is left on the disk.

    Args:
        path: the file.
        timeout_s: how long decoding may take.
        limit_s: the longest audio to decode, in seconds.
        amplify: whether a quiet recording is amplified.

    Raises:
        Undecodable: no audio, an empty file, broken data, too long or too slow.
    """
    from models import child  # not for the child process, which reads this module too

    arguments = (str(path), str(int(limit_s * RATE_HZ)), str(int(amplify)))
    work = child.spooled("models.transcribe.audio.decoding", *arguments, timeout_s=timeout_s)
    try:
        async with work as (spool, report):
            return _read(spool, report or {"error": "media_undecodable"})
    except TimeoutError as error:
        raise Undecodable(
            "media_decode_timeout", f"decoding it took longer than {timeout_s:g} s"
        ) from error


def _read(spool: Any, result: dict[str, Any]) -> Audio:
    size_bytes = spool.seek(0, 2)
    error = result.get("error") or ("media_empty" if size_bytes < 2 else None)
    if error == "media_too_long":
        raise Undecodable(error, f"it is longer than {result['most_s'] / 3600:.2g} h")
    if error is not None:
        raise Undecodable("media_undecodable" if error == "media_rate" else error, _REASONS[error])
    return Audio(
        Spool(spool.fileno()),
        tuple((start, length) for start, length in result["damaged"]),
        result["declared_s"],
        tuple((code, message) for code, message in result["notes"]),
    )


# In the child process ----------------------------------------------------------------------------


def _main(path: str, limit: int, amplify: bool, report: int) -> int:
    from models.transcribe.audio.decoder_process import Decoder

    try:
        result = Decoder(sys.stdout.buffer, limit, amplify=amplify).run(path)
    finally:
        sys.stdout.buffer.flush()
    with open(report, "w", closefd=False) as file:
        json.dump(result, file)
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1], int(sys.argv[2]), sys.argv[3] == "1", int(sys.argv[4])))

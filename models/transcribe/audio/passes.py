"""One pass over a file: writes its samples, and collects notes about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from models.sound.containers import RATES_HZ
from models.transcribe.audio import containers
from models.transcribe.audio.levels import Level
from models.transcribe.audio.mixing import Mixer
from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.reading import Reader
from models.transcribe.audio.timeline import Timeline

_MOST_STRETCHES = 1000  # damaged stretches that are recorded separately; a file may have millions
_SECOND = bytes(2 * RATE_HZ)  # a second of silence


@dataclass
class Pass:
    """Writes the samples of a track, or of several files one after the other.

    Attributes:
        spool: receives the samples: signed 16-bit, mono.
        limit: the largest number of samples.
        level: measures the loudness of the samples.
        gain: factor of the samples.
        written: the number of samples so far.
        damaged: unreadable stretches, which are silence: first sample and number of samples.
        declared_s: the track's duration by the file's header, if much of it is missing.
        notes: codes and messages for the client.
        fine: whether the track has more than 16 bits per sample.
        error: the code of the error that ended the pass.
    """

    spool: BinaryIO
    limit: int
    level: Level
    gain: float = 1.0
    written: int = 0
    damaged: list[tuple[int, int]] = field(default_factory=list)
    declared_s: float | None = None
    notes: list[tuple[str, str]] = field(default_factory=list)
    fine: bool = False
    error: str | None = None

    def run(self, container: Any, stream: Any) -> None:
        """Decode a track, and append its samples."""
        begins, timeline = self.written, containers.timeline(container)
        mixer, reader = Mixer(self.gain), Reader(container, stream)
        for item, failed, following in reader.items():
            if isinstance(item, float):
                self._put(mixer.rest())
                self._lose(item)
                if timeline is not None:
                    timeline.lost(item)
            elif item.sample_rate not in RATES_HZ:
                self.error = "media_rate"
            else:
                hole_s = 0.0
                if timeline is not None:
                    hole_s = self._hole_s(timeline, item, following)
                self._fill(hole_s, mixer, failed=failed)
                self.fine = self.fine or item.format.packed.name not in ("u8", "s16")
                self._put(mixer.mixed(item))
            if self.error is not None:
                return
        self._put(mixer.rest())
        if reader.failed:
            self._note("media_damaged", f"From {self._now} on, the file could not be read.")
        written_s = (self.written - begins) / RATE_HZ
        self.declared_s = containers.missing(container, stream, reader.last_s, written_s)

    @property
    def _now(self) -> str:
        return f"{self.written / RATE_HZ:.1f} s"

    def _hole_s(self, timeline: Timeline, frame: Any, following: Any) -> float:
        """Return the length of the gap that the container's clock leaves before a frame."""
        hole_s, refused_s = timeline.hole(
            frame.time,
            frame.samples / frame.sample_rate,
            None if following is None else following.time,
            (self.limit - self.written) / RATE_HZ,
        )
        if refused_s:
            self._note(
                "media_times",
                f"At {self._now} the file's clock jumps by {refused_s:.1f} s, beyond what the "
                "file can contain; the audio after it is taken to follow directly.",
            )
        return hole_s

    def _fill(self, hole_s: float, mixer: Mixer, *, failed: bool) -> None:
        """Write silence for a gap; after a read failure it counts as damage."""
        if hole_s:
            self._put(mixer.rest())
            if failed:
                self._lose(hole_s)
            else:
                self._silence(round(hole_s * RATE_HZ))
        elif failed:
            self._note(
                "media_damaged",
                f"At {self._now} some of the file could not be read; how much is not known.",
            )

    def _lose(self, seconds: float) -> None:
        """Record an unreadable stretch, and write silence for it."""
        count = round(seconds * RATE_HZ)
        start, length = self.damaged[-1] if self.damaged else (0, 0)
        if self.damaged and (
            start + length == self.written or len(self.damaged) == _MOST_STRETCHES
        ):
            self.damaged[-1] = (start, length + count)
        else:
            self.damaged.append((self.written, count))
        self._silence(count)

    def _silence(self, count: int) -> None:
        size = 2 * count
        self._put(_SECOND[: size - start] for start in range(0, size, len(_SECOND)))

    def _put(self, blocks: Iterator[bytes]) -> None:
        for block in blocks:
            self.written += len(block) // 2
            if self.written > self.limit:
                self.error = "media_too_long"
                return
            self.level.add(block)
            self.spool.write(block)

    def _note(self, code: str, message: str) -> None:
        if code not in {known for known, _ in self.notes}:  # one note per code is enough
            self.notes.append((code, message))

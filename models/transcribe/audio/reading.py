"""Reads the frames of a track, past damage."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from models.transcribe.audio.containers import own_end_s

_FAILURES = 3  # consecutive read failures after which reading ends
_LONGEST_PACKET_S = 10.0  # a packet that claims to be longer is not believed


class Reader:
    """Reads a track packet by packet: ``container.decode`` would stop at the first damaged packet.

    Attributes:
        failed: whether the file could not be read to its end.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._container = container
        self._stream = stream
        # Read all tracks if the file's end cannot be known otherwise.
        self._streams = [] if own_end_s(container, stream) is None else [stream]
        self._usual_s = 0.0
        self._last = dict[int, int]()  # the end of each track, in its own time base
        self.failed = self._resumed = False

    @property
    def last_s(self) -> float:
        """The latest time in any track that was read, in seconds of the container's clock."""
        streams = self._container.streams
        ends = (last * streams[index].time_base for index, last in self._last.items())
        return float(max(ends, default=0))

    def items(self) -> Iterator[tuple[Any, bool, Any]]:
        """Yield frames, and a duration in seconds for each packet that cannot be decoded.

        Each item comes with a flag and the next frame. The flag tells whether reading failed before
        the item; the frame is None if it is not known.
        """
        before, failed = None, False
        for item in self._items():
            if before is not None:
                yield before, failed, None if isinstance(item, float) else item
            before, failed, self._resumed = item, self._resumed, False
        if before is not None:
            yield before, failed, None

    def _items(self) -> Iterator[Any]:
        import av

        for packet in self._packets():
            if packet.stream.index != self._stream.index:
                continue
            try:
                for frame in packet.decode():
                    self._usual_s = frame.samples / frame.sample_rate
                    yield frame
            except av.error.FFmpegError:
                known = packet.duration is not None and packet.time_base is not None
                lost_s = float(packet.duration * packet.time_base) if known else self._usual_s
                if 0 < lost_s < _LONGEST_PACKET_S:
                    yield lost_s

    def _packets(self) -> Iterator[Any]:
        """Yield packets; after a failure, try to read on behind the damage."""
        import av

        failures = 0
        while failures < _FAILURES:
            try:
                for packet in self._container.demux(*self._streams):
                    if packet.size and self.failed:
                        self._resumed, self.failed, failures = True, False, 0
                    if not self._streams and packet.pts is not None:
                        at, ends = packet.stream.index, packet.pts + (packet.duration or 0)
                        self._last[at] = max(self._last.get(at, 0), ends)
                    yield packet
            except av.error.FFmpegError:
                self.failed, failures = True, failures + 1
            else:
                return

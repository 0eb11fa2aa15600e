"""What a container declares: its tracks, its clock and its duration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.sound.containers import OPEN_OPTIONS
from models.transcribe.audio import ogg
from models.transcribe.audio.timeline import Timeline

# Formats with timestamps in their packets. FFmpeg computes those of others from packet sizes.
_HAVE_TIMES = frozenset({"asf", "flv", "matroska", "mov", "mpeg", "mpegts", "ogg"})
_GUESS_THEIR_END = frozenset({"flv"})  # FFmpeg estimates the duration from the bit rate
_OF_ONE_STREAM = frozenset({"wav", "w64", "flac", "aiff"})  # the header states the duration
_SECOND = 1_000_000  # units of a container's clock per second
_CUT_OFF_S = 1.0  # a file that is shorter than declared by more than this is cut off


@contextmanager
def opened(path: str, part: tuple[int, int] | None = None) -> Iterator[Any]:
    """Open a file, or the bytes from ``part[0]`` to ``part[1]`` of it."""
    import av

    options = dict(OPEN_OPTIONS)
    source = path if part is None else ogg.Part(path, *part)
    try:
        with av.open(source, options=options, metadata_errors="ignore") as container:
            yield container
    finally:
        if isinstance(source, ogg.Part):
            source.close()


def tracks(container: Any) -> list[int]:
    """Return the indices of the audio tracks that can be decoded, default tracks first."""
    import av

    streams = container.streams.audio
    default = av.stream.Disposition.default
    readable = [at for at, stream in enumerate(streams) if stream.codec_context is not None]
    return sorted(readable, key=lambda at: not streams[at].disposition & default)


def choice(numbers: Sequence[int], track: int) -> str | None:
    """Return a message that says which of several tracks is used; None if there is only one."""
    if len(numbers) == 1:
        return None
    why = "the default one" if track == numbers[0] else "the first that is not silent"
    return f"The file has {len(numbers)} audio tracks; number {track + 1}, {why}, is taken."


def timeline(container: Any) -> Timeline | None:
    """Return the container's clock; None if its packets have no timestamps."""
    if _kind(container) not in _HAVE_TIMES:
        return None
    origin_s = None if container.start_time is None else container.start_time / _SECOND
    if container.duration is None or _kind(container) in _GUESS_THEIR_END:
        return Timeline(origin_s, None)
    return Timeline(origin_s, (origin_s or 0.0) + container.duration / _SECOND)


def own_end_s(container: Any, stream: Any) -> float | None:
    """Return a stream's declared end, in seconds after the container's start.

    None if the container declares the end of all its streams together only.
    """
    kind, origin_s = _kind(container), (container.start_time or 0) / _SECOND
    if kind == "mov" and stream.duration is not None:
        ends = (stream.start_time or 0) + stream.duration
        return float(ends * stream.time_base) - origin_s
    alone = len(container.streams.audio) + len(container.streams.video) == 1
    if kind == "matroska" and not alone:  # most muxers write HH:MM:SS.nnnnnnnnn
        declared = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
        if declared is not None:
            hours, minutes, seconds = declared.groups()
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds) - origin_s
    if kind in _OF_ONE_STREAM and container.duration is not None:
        return float(container.duration / _SECOND)
    return None


def missing(container: Any, stream: Any, last_s: float, written_s: float) -> float | None:
    """Return a track's declared duration in seconds if the file ends well before it, else None.

    Args:
        container: the file.
        stream: the track.
        last_s: the latest time in any track that was read, by the container's clock.
        written_s: how much of the track was decoded.
    """
    ends_s = own_end_s(container, stream)
    if ends_s is None and _kind(container) in ("matroska", "mov") and container.duration:
        # Another track may be the longest: the file is cut off only if all of them end early.
        ends_s = container.duration / _SECOND
        written_s = max(written_s, last_s - (container.start_time or 0) / _SECOND)
    if ends_s is None or ends_s - written_s <= _CUT_OFF_S:
        return None
    return round(ends_s, 2)


def _kind(container: Any) -> str:
    return str(container.format.name).split(",")[0]

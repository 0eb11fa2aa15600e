"""What a file says of itself: its tracks, its clock, and how long it is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.transcribe.audio import ogg
from models.transcribe.audio.timeline import Timeline

# Containers that hold their own data. Playlists (HLS, concat, …) would open other files and URLs.
_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,asf,au,avi,caf,eac3,flac,flv,matroska,webm,mov,mp4,m4a,3gp,3g2,"
    "mj2,mp3,mpeg,mpegts,ogg,w64,wav"
)
# Whose packets have times of their own. Others' are made of the sizes of the packets before.
_HAVE_TIMES = frozenset({"asf", "flv", "matroska", "mov", "mpeg", "mpegts", "ogg"})
_GUESS_THEIR_END = frozenset({"flv"})  # from the bit rate
_OF_ONE_STREAM = frozenset({"wav", "w64", "flac", "aiff"})  # whose headers say how long it is
_SECOND = 1_000_000  # of a container's clock
_CUT_OFF_S = 1.0  # missing at the end of a file that is cut off


@contextmanager
def opened(path: str, part: tuple[int, int] | None = None) -> Iterator[Any]:
    """Open a file, or a part of it."""
    import av

    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    source = path if part is None else ogg.Part(path, *part)
    try:
        with av.open(source, options=options, metadata_errors="ignore") as container:
            yield container
    finally:
        if isinstance(source, ogg.Part):
            source.close()


def tracks(container: Any) -> list[int]:
    """Return the audio tracks that can be decoded, by their numbers: default ones first."""
    import av

    streams = container.streams.audio
    default = av.stream.Disposition.default
    readable = [at for at, stream in enumerate(streams) if stream.codec_context is not None]
    return sorted(readable, key=lambda at: not streams[at].disposition & default)


def choice(numbers: Sequence[int], track: int) -> str | None:
    """Say which of several tracks is taken; None where there is but one."""
    if len(numbers) == 1:
        return None
    why = "the default one" if track == numbers[0] else "the first that is not silent"
    return f"The file has {len(numbers)} audio tracks; number {track + 1}, {why}, is taken."


def timeline(container: Any) -> Timeline | None:
    """Return the container's clock; None where its packets have no times of their own."""
    if _kind(container) not in _HAVE_TIMES:
        return None
    origin_s = None if container.start_time is None else container.start_time / _SECOND
    if container.duration is None or _kind(container) in _GUESS_THEIR_END:
        return Timeline(origin_s, None)
    return Timeline(origin_s, (origin_s or 0.0) + container.duration / _SECOND)


def own_end_s(container: Any, stream: Any) -> float | None:
    """Return when a stream ends by its own account, counted from the container's first moment.

    None where the container does not say it, but of all its streams together.
    """
    kind, origin_s = _kind(container), (container.start_time or 0) / _SECOND
    if kind == "mov" and stream.duration is not None:
        ends = (stream.start_time or 0) + stream.duration
        return float(ends * stream.time_base) - origin_s
    alone = len(container.streams.audio) + len(container.streams.video) == 1
    if kind == "matroska" and not alone:  # written by most muxers, as HH:MM:SS.nnnnnnnnn
        said = re.fullmatch(r"(\d+):(\d+):([\d.]+)", stream.metadata.get("DURATION", ""))
        if said is not None:
            return int(said[1]) * 3600 + int(said[2]) * 60 + float(said[3]) - origin_s
    if kind in _OF_ONE_STREAM and container.duration is not None:
        return float(container.duration / _SECOND)
    return None


def missing(container: Any, stream: Any, last_s: float, written_s: float) -> float | None:
    """Return how long the file says that a track is, where it ends much before; else None.

    Args:
        container: the file.
        stream: the track.
        last_s: the latest moment of any track that was read, by the container's clock.
        written_s: how much of the track there is.
    """
    ends_s = own_end_s(container, stream)
    if ends_s is None and _kind(container) in ("matroska", "mov") and container.duration:
        # Another track may be what is long: the file is cut off where all of them end early.
        ends_s = container.duration / _SECOND
        written_s = max(written_s, last_s - (container.start_time or 0) / _SECOND)
    if ends_s is None or ends_s - written_s <= _CUT_OFF_S:
        return None
    return round(ends_s, 2)


def _kind(container: Any) -> str:
    return str(container.format.name).split(",")[0]

"""Decodes a file, in the child process that ``models.transcribe.audio.decoding`` starts for it.

Some files are decoded more than once: track after track until one is not silent, and a quiet
recording again with gain, applied before the samples are rounded to 16 bits.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from typing import Any, BinaryIO

from models.transcribe.audio import ogg
from models.transcribe.audio.containers import choice, opened, tracks
from models.transcribe.audio.levels import FULL_SCALE, Level, decibels
from models.transcribe.audio.passes import Pass
from models.transcribe.audio.rate import RATE_HZ

# The longest audio that a file of a given size may contain: the first half hour is free, since
# silence takes as little as thirty bytes a second. Speech in Opus takes some hundreds.
_FREE_S, _MOST_S_PER_BYTE = 1800, 0.01

# Levels (``levels.Level``). Silero's network finds all speech of a recording whose peak is -40 dBFS
# or more, nine tenths at -50, and none from -65 down. Amplified to -20 dBFS, it finds all of it
# again. In a minute each of white, pink, brown and blue noise, hum, rounding noise, clicks and
# beeps, amplified to the same level, it finds no speech (0.26 at most, where 0.5 is speech); at
# 0 dBFS it takes a third of pink noise for speech. Measured with two LibriVox sentences, one of
# espeak-ng's, and noise of numpy and of sox, at peaks from 0 to -100 dBFS.
_QUIET, _USUAL = decibels(-40), decibels(-20)
_SILENT = decibels(-60)  # a track below this is silent, if another track is louder
_PROBE = decibels(60)  # the gain to measure a level that is below the 16th bit
_LEAST_LEVEL = 8 / FULL_SCALE  # below this, rounding makes a level too uncertain
_MOST_TRACKS = 16
_AGAIN_S = 25.0  # a file that has taken longer is not decoded again: decoding time is limited


class Decoder:
    """Decodes a file.

    Args:
        spool: receives the samples.
        limit: the largest number of samples to decode; a small file may have a lower limit.
        amplify: whether a quiet recording is amplified.
        again_s: a file that has taken longer is not decoded again.
    """

    def __init__(
        self, spool: BinaryIO, limit: int, *, amplify: bool, again_s: float = _AGAIN_S
    ) -> None:
        self._spool = spool
        self._limit = limit
        self._amplify = amplify
        self._again_s = again_s
        self._began_s = time.monotonic()

    def run(self, path: str) -> dict[str, Any]:
        """Decode a file; return the report to the parent process."""
        size_bytes = os.path.getsize(path)
        self._limit = min(self._limit, round((_FREE_S + _MOST_S_PER_BYTE * size_bytes) * RATE_HZ))
        if os.path.isfile(path):
            if not size_bytes:
                return self._failed("media_empty")
            if parts := ogg.links(path):
                return self._report(self._amplified(path, self._joined(path, parts), parts))
        with opened(path) as container:
            if not container.streams.audio:
                return self._failed("media_no_audio")
            numbers = tracks(container)
            if not numbers:
                return self._failed("media_undecodable")
            decoded = self._track(container, numbers[0])
        track, decoded = self._audible(path, numbers, decoded)
        return self._report(self._amplified(path, decoded, track=track), choice(numbers, track))

    def _audible(self, path: str, numbers: Sequence[int], decoded: Pass) -> tuple[int, Pass]:
        """Return the first track that is not silent, decoded; if all are silent, the loudest.

        Args:
            path: the file.
            numbers: the indices of its tracks.
            decoded: the first of them, decoded.
        """
        levels = dict[int, float]()
        for track in numbers[:_MOST_TRACKS]:
            if levels:
                decoded = self._decoded_again(path, (), track)
            levels[track] = decoded.level.value
            if decoded.error is not None or levels[track] >= _SILENT or self._is_late:
                return track, decoded
        loudest = max(levels, key=levels.__getitem__)
        if loudest != track:
            decoded = self._decoded_again(path, (), loudest)
        return loudest, decoded

    def _amplified(
        self, path: str, decoded: Pass, parts: Sequence[tuple[int, int]] = (), track: int = 0
    ) -> Pass:
        """Return the recording, decoded again with gain if it is quiet."""
        level, gain = decoded.level.value, 1.0
        if decoded.error is not None or level >= _QUIET or not self._amplify or self._is_late:
            return decoded
        if level < _LEAST_LEVEL and decoded.fine:
            gain = _PROBE
            decoded = self._decoded_again(path, parts, track, gain)
            level = decoded.level.value
            if level < _LEAST_LEVEL:
                return decoded
        if level == 0.0:
            return decoded
        return self._decoded_again(path, parts, track, gain * _USUAL / level)

    def _decoded_again(
        self, path: str, parts: Sequence[tuple[int, int]], track: int, gain: float = 1.0
    ) -> Pass:
        """Decode the given parts of a file again, or one of its tracks if there are none."""
        if parts:
            return self._joined(path, parts, gain)
        with opened(path) as container:
            return self._track(container, track, gain)

    def _track(self, container: Any, track: int, gain: float = 1.0) -> Pass:
        """Decode a track of a file."""
        decoded = self._begun(gain)
        decoded.run(container, container.streams.audio[track])
        return decoded

    def _joined(self, path: str, parts: Sequence[tuple[int, int]], gain: float = 1.0) -> Pass:
        """Decode the parts of a file, one after the other."""
        import av

        decoded, unreadable = self._begun(gain), 0
        for part in parts:
            try:
                with opened(path, part) as container:
                    if container.streams.audio:
                        decoded.run(container, container.streams.audio[0])
            except av.error.FFmpegError:
                unreadable += 1
            if decoded.error is not None:
                break
        if unreadable == len(parts):
            decoded.error = "media_undecodable"
        elif unreadable:
            message = f"{unreadable} of the file's {len(parts)} parts could not be read."
            decoded.notes.append(("media_damaged", message))
        return decoded

    def _begun(self, gain: float = 1.0) -> Pass:
        """Return a new pass; the samples of an earlier one are discarded."""
        if self._spool.seekable():
            self._spool.seek(0)
            self._spool.truncate()
        enough = _QUIET if gain == 1.0 else math.inf
        return Pass(self._spool, self._limit, Level(enough), gain)

    @property
    def _is_late(self) -> bool:
        return time.monotonic() - self._began_s > self._again_s

    def _failed(self, error: str) -> dict[str, Any]:
        return {"error": error, "most_s": self._limit / RATE_HZ}

    def _report(self, decoded: Pass, chosen: str | None = None) -> dict[str, Any]:
        if decoded.error is not None:
            return self._failed(decoded.error)
        return {
            "damaged": [[round(at / RATE_HZ, 2) for at in stretch] for stretch in decoded.damaged],
            "declared_s": decoded.declared_s,
            "notes": [*([("media_tracks", chosen)] if chosen else []), *decoded.notes],
        }

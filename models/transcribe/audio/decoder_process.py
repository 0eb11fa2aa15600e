"""Decodes a file within the process that ``models.transcribe.audio.decoding`` starts for it.

A file is gone over more than once where that is needed: its tracks until there is one that is not
silent, and what is quiet once more, louder, before it is rounded to 16 bits.
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

# How long sound may last for its bytes: speech in Opus has some hundreds of bytes a second. Silence
# may have thirty, so that half an hour of it is free.
_FREE_S, _MOST_S_PER_BYTE = 1800, 0.01

# Levels (``levels.Level``). Of a recording of speech, Silero's network finds all down to a peak of
# -40 dBFS, nine tenths at -50, and nothing from -65 on. Lifted to -20 it finds all again, and in a
# minute each of white, pink, brown and blue noise, hum, rounding noise, clicks and beeps, lifted as
# much, it finds nothing (0.26 at most, where 0.5 is speech); at 0 dBFS it takes a third of pink
# noise for speech. Measured with two LibriVox sentences, one of espeak-ng's, and noise of numpy and
# of sox, at peaks from 0 to -100 dBFS.
_QUIET, _USUAL = decibels(-40), decibels(-20)
_SILENT = decibels(-60)  # a track below it, where another one is above
_PROBE = decibels(60)  # lifts what is below the 16th bit, so that its level can be measured
_LEAST_LEVEL = 8 / FULL_SCALE  # below, rounding makes it too uncertain
_MOST_TRACKS = 16
_AGAIN_S = 25.0  # a file that has taken longer is not gone over again: its time is limited


class Decoder:
    """Decodes a file.

    Args:
        spool: where samples go.
        limit: how many samples to decode at most; fewer of a small file.
        amplify: whether a quiet recording is made louder.
    """

    def __init__(self, spool: BinaryIO, limit: int, *, amplify: bool) -> None:
        self._spool = spool
        self._limit = limit
        self._amplify = amplify
        self._began_s = time.monotonic()

    def run(self, path: str) -> dict[str, Any]:
        """Decode a file; returns the report to the parent process."""
        size_bytes = os.path.getsize(path)
        self._limit = min(self._limit, round((_FREE_S + _MOST_S_PER_BYTE * size_bytes) * RATE_HZ))
        if os.path.isfile(path):
            if not size_bytes:
                return self._failed("media_empty")
            if parts := ogg.links(path):
                return self._report(self._louder(path, self._joined(path, parts), parts))
        with opened(path) as container:
            if not container.streams.audio:
                return self._failed("media_no_audio")
            numbers = tracks(container)
            if not numbers:
                return self._failed("media_undecodable")
            taken = self._track(container, numbers[0])
        track, taken = self._audible(path, numbers, taken)
        return self._report(self._louder(path, taken, track=track), choice(numbers, track))

    def _audible(self, path: str, numbers: Sequence[int], taken: Pass) -> tuple[int, Pass]:
        """Return the first track that is not silent, decoded; the loudest where all are.

        Args:
            path: the file.
            numbers: of its tracks.
            taken: the first of them, decoded.
        """
        levels = dict[int, float]()
        for track in numbers[:_MOST_TRACKS]:
            if levels:
                taken = self._decoded_again(path, (), track)
            levels[track] = taken.level.value
            if taken.error is not None or levels[track] >= _SILENT or self._is_late:
                return track, taken
        loudest = max(levels, key=levels.__getitem__)
        if loudest != track:
            taken = self._decoded_again(path, (), loudest)
        return loudest, taken

    def _louder(
        self, path: str, taken: Pass, parts: Sequence[tuple[int, int]] = (), track: int = 0
    ) -> Pass:
        """Return the same, lifted to the usual level where it is quiet."""
        level, gain = taken.level.value, 1.0
        if taken.error is not None or level >= _QUIET or not self._amplify or self._is_late:
            return taken
        if level < _LEAST_LEVEL and taken.fine:
            gain = _PROBE
            taken = self._decoded_again(path, parts, track, gain)
            level = taken.level.value
            if level < _LEAST_LEVEL:
                return taken
        return (
            taken
            if level == 0.0
            else self._decoded_again(path, parts, track, gain * _USUAL / level)
        )

    def _decoded_again(
        self, path: str, parts: Sequence[tuple[int, int]], track: int, gain: float = 1.0
    ) -> Pass:
        """Return the parts of a file, or else a track of it, decoded once more."""
        if parts:
            return self._joined(path, parts, gain)
        with opened(path) as container:
            return self._track(container, track, gain)

    def _track(self, container: Any, track: int, gain: float = 1.0) -> Pass:
        """Return a track of a file, decoded."""
        taken = self._begun(gain)
        taken.run(container, container.streams.audio[track])
        return taken

    def _joined(self, path: str, parts: Sequence[tuple[int, int]], gain: float = 1.0) -> Pass:
        """Return the parts of a file, decoded one after the other."""
        import av

        taken, unreadable = self._begun(gain), 0
        for part in parts:
            try:
                with opened(path, part) as container:
                    if container.streams.audio:
                        taken.run(container, container.streams.audio[0])
            except av.error.FFmpegError:
                unreadable += 1
            if taken.error is not None:
                break
        if unreadable == len(parts):
            taken.error = "media_undecodable"
        elif unreadable:
            message = f"{unreadable} of the file's {len(parts)} parts could not be read."
            taken.notes.append(("media_damaged", message))
        return taken

    def _begun(self, gain: float = 1.0) -> Pass:
        """Return a pass that has written nothing yet; what an earlier one has written is gone."""
        if self._spool.seekable():
            self._spool.seek(0)
            self._spool.truncate()
        enough = _QUIET if gain == 1.0 else math.inf
        return Pass(self._spool, self._limit, Level(enough), gain)

    @property
    def _is_late(self) -> bool:
        return time.monotonic() - self._began_s > _AGAIN_S

    def _failed(self, error: str) -> dict[str, Any]:
        return {"error": error, "most_s": self._limit / RATE_HZ}

    def _report(self, taken: Pass, chosen: str | None = None) -> dict[str, Any]:
        if taken.error is not None:
            return self._failed(taken.error)
        return {
            "damaged": [[round(at / RATE_HZ, 2) for at in stretch] for stretch in taken.damaged],
            "declared_s": taken.declared_s,
            "notes": [*([("media_tracks", chosen)] if chosen else []), *taken.notes],
        }

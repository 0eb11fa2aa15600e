"""Transcribe one recording, window after window, with faster-whisper's own loop.

Each window is conditioned on the text before it, so the windows of one recording cannot run
together. The work is done in slices: between two of them other requests use the device, so that a
short recording does not wait for a long one.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from functools import partial
from itertools import groupby
from typing import Any

from models.transcribe.request import Heard
from models.transcribe.whisper.alignment import aligned
from models.transcribe.whisper.logprobs import log_probabilities
from models.transcribe.whisper.mel import Mel
from models.transcribe.whisper.mode import Mode
from models.transcribe.whisper.placing import Placing
from models.transcribe.whisper.recording import Recording, Whole, as_json, within
from models.work import Progress, Stopped, Ticket, Unfinished


class Sequential(Mode):
    """Transcribes whole recordings."""

    slice_s = 1.0  # device time after which a slice ends, at the next segment

    def run(self, ticket: Ticket[Whole]) -> list[dict[str, Any]] | Unfinished:
        """Transcribe a slice; return all segments after the last slice or after a cancellation."""
        part = ticket.item
        try:
            with part.mel.watched(partial(_look, ticket)):
                if part.going is None:
                    part.going = self._segments(part.recording, part.mel)
                over = self._slice(ticket, part.going)
        except Stopped:
            return part.forgotten()
        except Exception:
            part.forgotten()  # a generator that has raised cannot continue
            raise
        return part.forgotten() if over else Unfinished()

    def _slice(self, ticket: Ticket[Whole], going: Iterator[dict[str, Any]]) -> bool:
        """Transcribe some segments; return whether they were the last."""
        part, until = ticket.item, time.monotonic() + self.slice_s
        recording = part.recording
        for segment in going:
            part.done.append(segment)
            _look(ticket)
            _emit_progress(ticket, segment["end"])
            if recording.request.stream:
                ticket.emit(Heard(0, (within(segment, recording),)))
            if time.monotonic() >= until:
                return False
        return True

    def _segments(self, recording: Recording, mel: Mel) -> Iterator[dict[str, Any]]:
        tokenizer, logs = self._tokenizer(recording, mel), dict[int, Any]()
        segments = self._model.generate_segments(mel, tokenizer, recording.options, False)
        if recording.request.logprobs:
            segments = self._with_log_probabilities(segments, mel, tokenizer, logs)
        placing = None
        if recording.spoken is not None:
            placing = Placing(recording.audio.samples, recording.spoken, recording.voiced)
        align = partial(aligned, self._model, tokenizer, mel, options=recording.options)
        for segment in segments:
            more = {"logprobs": logs.pop(segment.id)} if recording.request.logprobs else {}
            timed = as_json(asdict(segment)) | more
            yield from [timed] if placing is None else placing.placed(timed, align, tokenizer)

    def _with_log_probabilities(
        self, segments: Iterable[Any], mel: Any, tokenizer: Any, logs: dict[int, Any]
    ) -> Iterator[Any]:
        """Yield the same segments, and store their tokens' log probabilities in ``logs``.

        Segments are yielded window by window. A window is complete only when the next one is
        transcribed.
        """
        for seek, group in groupby(segments, key=lambda segment: segment.seek):
            window = list(group)
            size = min(self._model.feature_extractor.nb_max_frames, mel.shape[1] - 1 - seek)
            texts = [segment.tokens for segment in window]
            entries = log_probabilities(self._model, tokenizer, mel[:, seek : seek + size], texts)
            logs |= {segment.id: entry for segment, entry in zip(window, entries, strict=True)}
            yield from window


def _look(ticket: Ticket[Whole]) -> None:
    if ticket.cancelled:
        raise Stopped


def _emit_progress(ticket: Ticket[Whole], seconds: float) -> None:
    total = ticket.item.recording.audio.duration_s
    done = round(min(seconds, total), 2)
    ticket.emit(Progress(0, done, round(total, 2), "seconds"), lasting=False)

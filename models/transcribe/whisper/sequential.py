"""One recording, window after window: faster-whisper's own loop, a slice of it at a time.

Each window is told the text before it, so the windows of one recording cannot run together. Between
two slices others may have the device: a short recording does not wait for a long one.
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
from models.transcribe.whisper.mode import Mode
from models.transcribe.whisper.placing import Placing
from models.transcribe.whisper.recording import Whole, as_json, within
from models.work import Progress, Stopped, Ticket, Unfinished

_SLICE_S = 1.0  # of the device's time, and then to the next segment


class Sequential(Mode):
    """Writes whole recordings down."""

    def run(self, ticket: Ticket[Whole]) -> list[dict[str, Any]] | Unfinished:
        """A slice; at the end of the last one the segments, or what there is when nobody waits."""
        part = ticket.item
        part.mel.look = partial(_look, ticket)
        try:
            if part.going is None:
                part.going = self._segments(part)
            over = self._slice(ticket, part.going)
        except Stopped:
            return part.forgotten()
        except Exception:
            part.forgotten()  # a generator that has raised is at its end
            raise
        return part.forgotten() if over else Unfinished()

    def _slice(self, ticket: Ticket[Whole], going: Iterator[dict[str, Any]]) -> bool:
        """Write down some segments; returns whether those were all."""
        part, until = ticket.item, time.monotonic() + _SLICE_S
        recording = part.recording
        for segment in going:
            part.done.append(segment)
            _look(ticket)
            _tell(ticket, segment["end"])
            if recording.request.stream:
                ticket.emit(Heard(0, (within(segment, recording),)))
            if time.monotonic() >= until:
                return False
        return True

    def _segments(self, part: Whole) -> Iterator[dict[str, Any]]:
        recording, mel = part.recording, part.mel
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
            heard = as_json(asdict(segment)) | more
            yield from [heard] if placing is None else placing.placed(heard, align, tokenizer)

    def _with_log_probabilities(
        self, segments: Iterable[Any], mel: Any, tokenizer: Any, logs: dict[int, Any]
    ) -> Iterator[Any]:
        """The same segments, a window of them at a time; notes their tokens' probabilities.

        That a window is over is known once the next one is written down.
        """
        for seek, window in groupby(segments, key=lambda one: one.seek):
            found = list(window)
            size = min(self._model.feature_extractor.nb_max_frames, mel.shape[1] - 1 - seek)
            said = log_probabilities(
                self._model, tokenizer, mel[:, seek : seek + size], [one.tokens for one in found]
            )
            logs |= {one.id: each for one, each in zip(found, said, strict=True)}
            yield from found


def _look(ticket: Ticket[Whole]) -> None:
    if ticket.cancelled:
        raise Stopped


def _tell(ticket: Ticket[Whole], seconds: float) -> None:
    total = ticket.item.recording.audio.duration_s
    done = round(min(seconds, total), 2)
    ticket.emit(Progress(0, done, round(total, 2), "seconds"), lasting=False)

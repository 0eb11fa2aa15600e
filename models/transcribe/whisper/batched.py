"""Transcribe windows of several recordings together.

Each window is independent: it is conditioned on its request's prompt, and not on its neighbours. A
window whose result looks wrong is decoded again at a higher temperature, together with others like
it. If the model stops in the middle of a sentence, the rest of the window becomes a shorter window,
so that no word is lost.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples
from models.transcribe.request import TranscribeRequest
from models.transcribe.whisper.alignment import aligned
from models.transcribe.whisper.decoded import Decoded, best, is_silent, judged, looks_right
from models.transcribe.whisper.logprobs import log_probabilities
from models.transcribe.whisper.mel import Mel
from models.transcribe.whisper.mode import Mode
from models.transcribe.whisper.placing import Placing
from models.transcribe.whisper.recording import WINDOW_S, Recording, Window, beginning
from models.work import Ticket, Unfinished

_SPECTRA_AT_ONCE = 8
_LEAST_FRAMES = 40  # a shorter rest is dropped: a window ends with this much silence


@dataclass
class _State:
    """The state of a window that is partly transcribed."""

    recording: Recording
    samples: Samples
    mel: Mel
    placing: Placing
    tokenizer: Any
    prompt: list[int]
    seek: int = 0
    spoken_until: float = 0.0
    segments: list[dict[str, Any]] = field(default_factory=list)

    @property
    def request(self) -> TranscribeRequest:
        """The request that the window belongs to."""
        return self.recording.request

    @property
    def options(self) -> Any:
        """The library's options for the request."""
        return self.recording.options

    @property
    def left(self) -> int:
        """The number of frames that are not transcribed yet."""
        return self.mel.shape[1] - 1 - self.seek


class Batched(Mode):
    """Transcribes batches of windows."""

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[Recording], Any],
        detect: Callable[[Recording, Any], None],
    ) -> None:
        super().__init__(model, tokenizer, detect)
        # A spectrogram takes some 40 ms of a core, and the device waits for those of all windows.
        self._threads = ThreadPoolExecutor(min(_SPECTRA_AT_ONCE, os.cpu_count() or 1))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def run(self, batch: Sequence[Ticket[Window]]) -> list[list[dict[str, Any]] | Unfinished]:
        """Transcribe a stretch of each window; return the segments of those that are finished.

        An unfinished window continues in a later run, with other windows. A cancelled one returns
        the segments so far.
        """
        items = [ticket.item for ticket in batch]
        try:
            begun = [item.going or self._begin(item) for item in items]
            pairs = zip(begun, batch, strict=True)
            if active := [work for work, ticket in pairs if work.left > 0 and not ticket.cancelled]:
                self._pass(active)
        except Exception:
            for item in items:  # some have new segments already: every window starts again
                item.going = None
            raise
        return [_end(ticket, work) for ticket, work in zip(batch, begun, strict=True)]

    def _begin(self, item: Window) -> _State:
        recording = item.recording
        samples = Samples(recording.audio.samples, item.spans)
        mel = Mel(samples, self._model.feature_extractor)
        tokenizer = self._tokenizer(recording, self._spoken(recording, mel))
        options = recording.options
        before = tokenizer.encode(f" {options.initial_prompt}") if options.initial_prompt else []
        prompt = self._model.get_prompt(tokenizer, before, hotwords=options.hotwords)
        placing = Placing(recording.audio.samples, item.spans, recording.voiced)
        return _State(recording, samples, mel, placing, tokenizer, prompt)

    def _spoken(self, recording: Recording, mel: Mel) -> Mel:
        """Return the spectrogram for language detection; a window may have little or no speech."""
        if recording.language is not None or not recording.speech:
            return mel
        first = Samples(recording.audio.samples, beginning(recording.speech, WINDOW_S))
        return Mel(first, self._model.feature_extractor)

    def _pass(self, active: Sequence[_State]) -> None:
        """Transcribe the next stretch of each window."""
        import numpy as np
        from faster_whisper.audio import pad_or_trim

        frames = self._model.feature_extractor.nb_max_frames
        ends = [work.seek + min(frames, work.left) for work in active]
        spectra = list(
            self._threads.map(lambda work, end: work.mel[:, work.seek : end], active, ends)
        )
        features = np.stack([pad_or_trim(spectrum) for spectrum in spectra])
        decoded = self._decoded(features, active)
        for index, work in enumerate(active):
            self._note(work, spectra[index].shape[1], decoded[index], features[index : index + 1])

    def _decoded(self, features: Any, active: Sequence[_State]) -> list[Decoded]:
        """Return for each window the first result that looks right, or else the best."""
        options = active[0].options
        left, tries = list(range(len(active))), [list[Decoded]() for _ in active]
        done: dict[int, Decoded] = {}
        for temperature in options.temperatures:
            prompts = [active[index].prompt for index in left]
            results = self._generate(features[left], prompts, temperature, options)
            for index, result in zip(left, results, strict=True):
                decoded = judged(result, active[index].tokenizer, temperature, options)
                tries[index].append(decoded)
                if looks_right(decoded, options):
                    done[index] = decoded
            left = [index for index in left if index not in done]
            if not left:
                break
        return [done.get(index) or best(tries[index], options) for index in range(len(active))]

    def _generate(
        self, features: Any, prompts: Sequence[list[int]], temperature: float, options: Any
    ) -> Any:
        if temperature > 0:
            search = {"beam_size": 1, "num_hypotheses": options.best_of, "sampling_topk": 0}
            search["sampling_temperature"] = temperature
        else:
            search = {"beam_size": options.beam_size, "patience": options.patience}
        return self._model.model.generate(
            self._model.encode(features),
            prompts,
            length_penalty=options.length_penalty,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_blank=options.suppress_blank,
            suppress_tokens=options.suppress_tokens,
            max_initial_timestamp_index=round(
                options.max_initial_timestamp / self._model.time_precision
            ),
            **search,
        )

    def _note(self, work: _State, size: int, decoded: Decoded, features: Any) -> None:
        """Add a result to a window's segments, and move to where the next stretch begins."""
        options = work.options
        if is_silent(decoded, options):
            work.seek += size
            return
        extractor = self._model.feature_extractor
        parts, seek, single_end = self._model._split_segments_by_timestamps(
            tokenizer=work.tokenizer,
            tokens=decoded.result.sequences_ids[0],
            time_offset=work.seek * extractor.time_per_frame,
            segment_size=size,
            segment_duration=size * extractor.time_per_frame,
            seek=work.seek,
        )
        if options.word_timestamps:
            self._time_words(parts, work, features, size)
            end = parts[-1]["words"][-1]["end"] if parts and parts[-1].get("words") else None
            if not single_end and end is not None:
                seek = max(seek, round(end * self._model.frames_per_second))
        align = partial(aligned, self._model, work.tokenizer, work.mel, options=options)
        segments = [
            placed
            for segment in _kept_segments(parts, work, decoded)
            for placed in work.placing.placed(segment, align, work.tokenizer)
        ]
        if work.request.logprobs:
            texts = [segment["tokens"] for segment in segments]
            for segment, logs in zip(
                segments,
                log_probabilities(self._model, work.tokenizer, features[0, :, :size], texts),
                strict=True,
            ):
                segment["logprobs"] = logs
        work.segments += segments
        advance = seek - work.seek
        work.seek += advance if advance > 0 else size
        if work.left < _LEAST_FRAMES:
            work.seek += work.left

    def _time_words(self, parts: Sequence[Any], work: _State, features: Any, size: int) -> None:
        """Add word times to the segments of one window; other windows do not affect them."""
        last = self._model.add_word_timestamps(
            [parts],
            work.tokenizer,
            self._model.encode(features),
            size,
            work.options.prepend_punctuations,
            work.options.append_punctuations,
            last_speech_timestamp=work.spoken_until,
        )
        work.spoken_until = work.spoken_until if last is None else last


def _end(ticket: Ticket[Window], work: _State) -> list[dict[str, Any]] | Unfinished:
    """Return a window's segments if it is finished or cancelled; keep its state otherwise."""
    over = ticket.cancelled or work.left <= 0
    ticket.item.going = None if over else work
    return work.segments if over else Unfinished()


def _kept_segments(
    parts: Sequence[dict[str, Any]], work: _State, decoded: Decoded
) -> list[dict[str, Any]]:
    """Return the segments that have text, in the form of faster-whisper's own."""
    segments, second = [], RATE_HZ // work.mel.hop
    seek = work.seek + round(work.samples.offset(work.seek / second) * second)
    for part in parts:
        text = work.tokenizer.decode(part["tokens"])
        if part["start"] == part["end"] or not text.strip():
            continue
        segments.append(
            {
                "seek": seek,
                "start": part["start"],
                "end": part["end"],
                "text": text,
                "tokens": part["tokens"],
                "temperature": decoded.temperature,
                "avg_logprob": decoded.log_probability,
                "compression_ratio": decoded.compression,
                "no_speech_prob": decoded.result.no_speech_prob,
                "words": part.get("words"),
            }
        )
    return segments

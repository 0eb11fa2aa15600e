"""Windows of several recordings, written down together.

Each is by itself: it is told a request's prompt and nothing of its neighbours. One that looks wrong
is tried again less greedily, with those alone that do, too; what is left at the end of one, where
the model stopped amid a sentence, becomes a shorter window, so that no word is lost there.
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
_LEAST_FRAMES = 40  # of a tail: there is as much silence at the end of a window


@dataclass
class _Going:
    """A window that is under way."""

    window: Window
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
        """Whose window it is."""
        return self.window.recording.request

    @property
    def options(self) -> Any:
        """The library's, of that request."""
        return self.window.recording.options

    @property
    def left(self) -> int:
        """Frames that are not written down yet."""
        return self.mel.shape[1] - 1 - self.seek


class Batched(Mode):
    """Writes windows down."""

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[Recording], Any],
        detect: Callable[[Recording, Any], None],
    ) -> None:
        super().__init__(model, tokenizer, detect)
        # A spectrum takes a core some 40 ms, and the device waits for those of all windows.
        self._threads = ThreadPoolExecutor(min(_SPECTRA_AT_ONCE, os.cpu_count() or 1))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def run(self, batch: Sequence[Ticket[Window]]) -> list[list[dict[str, Any]] | Unfinished]:
        """Go over each window once; its segments, where nothing is left of it.

        What is left of one is gone over in a later run, with other windows. Of one that nobody
        waits for, what there is.
        """
        items = [ticket.item for ticket in batch]
        try:
            going = [item.going or self._begin(item) for item in items]
            wanted = zip(going, batch, strict=True)
            if active := [one for one, ticket in wanted if one.left > 0 and not ticket.cancelled]:
                self._pass(active)
        except Exception:
            for item in items:  # some may be noted already: each begins anew
                item.going = None
            raise
        return [self._end(one, ticket.cancelled) for one, ticket in zip(going, batch, strict=True)]

    def _end(self, one: _Going, cancelled: bool) -> list[dict[str, Any]] | Unfinished:
        over = cancelled or one.left <= 0
        one.window.going = None if over else one
        return one.segments if over else Unfinished()

    def _begin(self, item: Window) -> _Going:
        recording = item.recording
        samples = Samples(recording.audio.samples, item.spans)
        mel = Mel(samples, self._model.feature_extractor, lambda: None)
        tokenizer = self._tokenizer(recording, self._spoken(recording, mel))
        options = recording.options
        before = tokenizer.encode(f" {options.initial_prompt}") if options.initial_prompt else []
        prompt = self._model.get_prompt(tokenizer, before, hotwords=options.hotwords)
        placing = Placing(recording.audio.samples, item.spans, recording.voiced)
        return _Going(item, samples, mel, placing, tokenizer, prompt)

    def _spoken(self, recording: Recording, mel: Mel) -> Mel:
        """The spectrum that says the language: a window may hold little speech, or none."""
        if recording.language is not None or not recording.speech:
            return mel
        first = Samples(recording.audio.samples, beginning(recording.speech, WINDOW_S))
        return Mel(first, self._model.feature_extractor, lambda: None)

    def _pass(self, active: Sequence[_Going]) -> None:
        """Write down the next stretch of each window."""
        import numpy as np
        from faster_whisper.audio import pad_or_trim

        frames = self._model.feature_extractor.nb_max_frames
        ends = [one.seek + min(frames, one.left) for one in active]
        heard = list(self._threads.map(lambda one, end: one.mel[:, one.seek : end], active, ends))
        features = np.stack([pad_or_trim(one) for one in heard])
        decoded = self._decoded(features, active)
        for index, one in enumerate(active):
            self._note(one, heard[index].shape[1], decoded[index], features[index : index + 1])

    def _decoded(self, features: Any, active: Sequence[_Going]) -> list[Decoded]:
        """What is said in each: at the first temperature where it looks right, else the best."""
        options = active[0].options
        left, tries = list(range(len(active))), [list[Decoded]() for _ in active]
        done: dict[int, Decoded] = {}
        for temperature in options.temperatures:
            prompts = [active[index].prompt for index in left]
            said = self._generate(features[left], prompts, temperature, options)
            for index, result in zip(left, said, strict=True):
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
            how = {"beam_size": 1, "num_hypotheses": options.best_of, "sampling_topk": 0}
            how["sampling_temperature"] = temperature
        else:
            how = {"beam_size": options.beam_size, "patience": options.patience}
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
            **how,
        )

    def _note(self, one: _Going, size: int, decoded: Decoded, features: Any) -> None:
        """Add what is said to a window's segments, and go on where it stops."""
        options = one.options
        if is_silent(decoded, options):
            one.seek += size
            return
        extractor = self._model.feature_extractor
        found, seek, single_end = self._model._split_segments_by_timestamps(
            tokenizer=one.tokenizer,
            tokens=decoded.result.sequences_ids[0],
            time_offset=one.seek * extractor.time_per_frame,
            segment_size=size,
            segment_duration=size * extractor.time_per_frame,
            seek=one.seek,
        )
        if options.word_timestamps:
            self._time_words(found, one, features, size)
            end = found[-1]["words"][-1]["end"] if found and found[-1].get("words") else None
            if not single_end and end is not None:
                seek = max(seek, round(end * self._model.frames_per_second))
        align = partial(aligned, self._model, one.tokenizer, one.mel, options=options)
        told = [
            part
            for each in _kept_segments(found, one, decoded)
            for part in one.placing.placed(each, align, one.tokenizer)
        ]
        if one.request.logprobs:
            said = [each["tokens"] for each in told]
            for each, logs in zip(
                told,
                log_probabilities(self._model, one.tokenizer, features[0, :, :size], said),
                strict=True,
            ):
                each["logprobs"] = logs
        one.segments += told
        gone = seek - one.seek
        one.seek += gone if gone > 0 else size
        if one.left < _LEAST_FRAMES:
            one.seek += one.left

    def _time_words(self, found: Sequence[Any], one: _Going, features: Any, size: int) -> None:
        """Each window by itself: what one ends with is nothing to the next."""
        last = self._model.add_word_timestamps(
            [found],
            one.tokenizer,
            self._model.encode(features),
            size,
            one.options.prepend_punctuations,
            one.options.append_punctuations,
            last_speech_timestamp=one.spoken_until,
        )
        one.spoken_until = one.spoken_until if last is None else last


def _kept_segments(
    found: Sequence[dict[str, Any]], going: _Going, decoded: Decoded
) -> list[dict[str, Any]]:
    """The segments that say something, as faster-whisper's own are."""
    told, second = [], RATE_HZ // going.mel.hop
    seek = going.seek + round(going.samples.offset(going.seek / second) * second)
    for one in found:
        text = going.tokenizer.decode(one["tokens"])
        if one["start"] == one["end"] or not text.strip():
            continue
        told.append(
            {
                "seek": seek,
                "start": one["start"],
                "end": one["end"],
                "text": text,
                "tokens": one["tokens"],
                "temperature": decoded.temperature,
                "avg_logprob": decoded.log_probability,
                "compression_ratio": decoded.compression,
                "no_speech_prob": decoded.result.no_speech_prob,
                "words": one.get("words"),
            }
        )
    return told

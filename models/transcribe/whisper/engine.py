"""Transcription and translation with Whisper: ctranslate2's model, faster-whisper's rules.

There are two modes. ``sequential`` is faster-whisper's own loop: each window is conditioned on the
text before it. ``batched`` cuts a recording at silences, and transcribes windows of all requests
together (``models.transcribe.whisper.batched``). Both read a recording from disk piece by piece.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.device.kept import kept
from models.engine import BatchEngine
from models.errors import MediaUndecodable
from models.leniency import Leniency
from models.operator import Operator
from models.row import Row
from models.transcribe.audio import decoding, voice_activity
from models.transcribe.audio.rate import RATE_HZ
from models.transcribe.audio.samples import Samples
from models.transcribe.audio.voice_activity import VadOptions
from models.transcribe.request import Heard, TranscribeRequest, Transcript
from models.transcribe.whisper import selftest
from models.transcribe.whisper.batched import Batched
from models.transcribe.whisper.mel import Mel
from models.transcribe.whisper.options import Options
from models.transcribe.whisper.recording import (
    WINDOW_S,
    Recording,
    Whole,
    Window,
    as_json,
    covering,
    windows,
    within,
)
from models.transcribe.whisper.sequential import Sequential
from models.work import Progress, Ticket, Unfinished, Work

log = logging.getLogger(__name__)

_DECODE_TIMEOUT_S = 180.0
# A shorter recording is not transcribed: no word is shorter, and Whisper would guess for ten
# seconds. OpenAI refuses such files.
_LEAST_S = 0.1
_RUNS = {"cuda": 1, "cpu": 2}  # at the same time, of the same weights
_AT_ONCE = {"cuda": 16, "cpu": 8}  # windows per run
_AT_ONCE_LARGE = 4  # the same for a large model on a CPU: each takes half a gigabyte
_LARGE_BYTES = 4 * 10**9
# Spans are concatenated, so shorter silences are cut out, too. Half of the default padding makes
# a fifth fewer windows and no more wrong words (benchmarks/transcribe.py).
_VAD_BATCHED = VadOptions(min_silence_duration_ms=160, speech_pad_ms=200)
_COMPUTE_TYPES = {"cuda": "float16", "cpu": "int8"}


class FasterWhisper(BatchEngine):
    """A Whisper model in ctranslate2's format; emits ``Progress``, and ``Heard`` when streaming.

    Row options ``compute_type``: ctranslate2's; float16 on a GPU and int8 on a CPU by default.
    ``kernels``: the folder in which the driver keeps compiled kernels.
    """

    libraries = ("faster_whisper", "ctranslate2", "av")
    prepare_in_thread = False
    limit_s = 12 * 3600.0  # of the longest recording

    def __init__(self, model: Any, row: Row, kind: str) -> None:
        self._model = model
        self._row = row
        self._batched = kind == "cuda"
        large = kind == "cpu" and row.memory_bytes >= _LARGE_BYTES
        self.budget = _AT_ONCE_LARGE if large else _AT_ONCE[kind]
        self.capacity = self.budget if self._batched else 1
        self.express = kind == "cpu"
        self._windows = Batched(model, self._tokenizer, self._detect)
        self._sequential = Sequential(model, self._tokenizer, self._detect)
        self._options = Options(model, row)

    @classmethod
    def configured(cls, row: Row, operator: Operator) -> Row:
        """Return the row with the operator's compute type and the folder for compiled kernels."""
        options = dict(row.options)
        if operator.compute_type is not None:
            options["compute_type"] = operator.compute_type
        if operator.device_kind == "cuda":
            options["kernels"] = operator.shelf / "kernels"
        return replace(row, options=options)

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FasterWhisper:
        """Load the model from a folder; on a GPU, check that it runs.

        Raises:
            DriverTooOld: the model does not run with this GPU's driver.
        """
        shelf = row.options.get("kernels")
        if shelf is not None and (kernels := kept(shelf)) is not None:
            # The driver reads this variable and does not create the folder.
            os.environ.setdefault("CUDA_CACHE_PATH", str(kernels))
        from faster_whisper import WhisperModel

        compute_type = row.options.get("compute_type") or _COMPUTE_TYPES[device.kind]
        make = partial(
            WhisperModel,
            str(folder),
            device=device.kind,
            compute_type=compute_type,
            num_workers=_RUNS[device.kind],
        )
        model = selftest.checked(make, row) if device.kind == "cuda" else make()
        log.info("%s: computes in %s on %s", row.slug, model.model.compute_type, device.kind)
        return cls(model, row, device.kind)

    async def prepare(self, request: TranscribeRequest) -> Work:
        """Decode the file, and detect speech; cancelling the caller ends the decoding.

        Raises:
            InvalidValue: the model does not know the language.
            UnsupportedParameter: the model does not translate; or the request is strict and has a
                field without effect.
            ContextLengthExceeded: the hotwords are too long.
            MediaUndecodable: the file has no readable audio.
        """
        leniency = Leniency(request.strict)
        mode = request.mode or ("batched" if self._batched else "sequential")
        options = self._options.of(request, leniency, mode)
        try:
            decoded = await decoding.decode(
                request.path, _DECODE_TIMEOUT_S, self.limit_s, amplify=request.vad is not False
            )
        except decoding.Undecodable as error:
            raise MediaUndecodable(
                f"The audio cannot be used: {error}. Send a common format such as wav, mp3, flac, "
                "ogg, m4a or webm.",
                param="audioUrl",
                code=error.code,
            ) from error
        recording = Recording(request, decoded, options, None, request.language)
        recording.left_out = leniency.left_out
        return await asyncio.to_thread(self._work, recording, mode)

    def run(self, batch: Sequence[Ticket[Any]]) -> list[Any]:
        """Transcribe a slice of a recording, or a batch of windows; return early if cancelled."""
        if isinstance(batch[0].item, Window):
            outputs = self._windows.run(batch)
            for ticket, segments in zip(batch, outputs, strict=True):
                if not isinstance(segments, Unfinished):
                    self._emit(ticket, segments)
            return outputs
        return [self._sequential.run(ticket) for ticket in batch]

    def close(self) -> None:
        """Release the model, and end its threads."""
        self._windows.close()
        del self._model, self._windows, self._sequential, self._options

    # A request -----------------------------------------------------------------------------------

    def _work(self, recording: Recording, mode: str) -> Work:
        """Return the parts of a request; their CPU work is done here."""
        request, extractor = recording.request, self._model.feature_extractor
        batched = mode == "batched"
        usual = _VAD_BATCHED if batched else VadOptions()
        options = replace(usual, **(request.vad_options or {}))
        if batched:
            longest_s = min(options.max_speech_duration_s, WINDOW_S)
            options = replace(options, max_speech_duration_s=longest_s)
        is_spoken = True
        if request.vad is not False or batched:
            is_spoken = _detect_speech(recording, options)
        finish = partial(_finish, recording)
        if not is_spoken or len(recording.audio.samples) < _LEAST_S * RATE_HZ:
            recording.language, recording.probability = recording.language or "en", 0.0
            return Work((), finish=finish)
        if mode == "sequential":
            mel = Mel(recording.samples, extractor)
            mel.prepare()
            whole = Whole(recording, mel)
            return Work((whole,), total=whole.windows, sliced=True, finish=finish)
        parts = windows(recording, recording.spoken or ())
        settings = recording.options
        kind = (
            settings.beam_size,
            tuple(settings.temperatures),
            settings.word_timestamps,
            request.logprobs,
            settings.hotwords,
            settings.initial_prompt,
        )
        return Work(parts, kind=kind, finish=finish)

    # On the device -------------------------------------------------------------------------------

    def _emit(self, ticket: Ticket[Window], segments: Sequence[dict[str, Any]]) -> None:
        item = ticket.item
        recording = item.recording
        done, total = round(item.seconds, 2), round(recording.audio.duration_s, 2)
        ticket.emit(Progress(item.part, done, total, "seconds"), lasting=False)
        if recording.request.stream:
            placed = tuple(within(as_json(segment), recording) for segment in segments)
            ticket.emit(Heard(item.part, placed, last=True))

    def _detect(self, recording: Recording, features: Any) -> None:
        """Detect a recording's language."""
        if not self._model.model.is_multilingual:
            recording.language, recording.probability = "en", 1.0
            return
        language, probability, ranking = self._model.detect_language(features=features)
        if recording.request.languages:
            allowed = [entry for entry in ranking if entry[0] in recording.request.languages]
            language, probability = max(allowed, key=lambda entry: entry[1])
        recording.language, recording.probability = language, float(probability)

    def _tokenizer(self, recording: Recording) -> Any:
        return self._options.tokenizer(recording.language or "en", recording.request.task)


def _detect_speech(recording: Recording, options: VadOptions) -> bool:
    """Choose the spans of a recording to transcribe; return whether there are any."""
    activity = voice_activity.activity(Samples(recording.audio.samples), options)
    recording.speech = activity.spans
    if recording.request.vad is False:  # the whole recording, including silences
        recording.spoken = covering(activity.spans, len(recording.audio.samples))
        return True
    recording.spoken, recording.voiced = activity.spans, activity.voiced
    return bool(activity.spans) and activity.seconds >= _LEAST_S


def _finish(recording: Recording, parts: Sequence[Sequence[dict[str, Any]]]) -> Transcript:
    segments = [within(as_json(segment), recording) for part in parts for segment in part]
    return Transcript(
        segments=[{**segment, "id": index} for index, segment in enumerate(segments, start=1)],
        language=recording.language or "en",
        language_probability=recording.probability,
        duration_s=recording.audio.duration_s,
        task=recording.request.task,
        damaged=recording.audio.damaged,
        declared_s=recording.audio.declared_s,
        left_out=tuple(recording.left_out),
        notes=recording.audio.notes,
    )

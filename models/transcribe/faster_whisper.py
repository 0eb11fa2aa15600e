"""Transcription and translation with Whisper: ctranslate2's model, faster-whisper's rules.

Two modes. ``sequential`` is faster-whisper's own loop: each window is told the text before it.
``batched`` cuts a recording where nobody speaks, and writes windows of all requests down together
(``models.transcribe.windows``). Neither holds more of a recording in memory than it looks at.
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
from models.errors import (
    ContextLengthExceeded,
    InvalidValue,
    MediaUndecodable,
    UnsupportedParameter,
)
from models.row import Row
from models.surface import Leniency, Progress, Ticket, Unfinished, Work
from models.transcribe import audio, selftest, speech
from models.transcribe.mel import Mel
from models.transcribe.rate import RATE_HZ
from models.transcribe.recording import (
    WINDOW_S,
    Recording,
    Whole,
    Window,
    covering,
    plain,
    windows,
    within,
)
from models.transcribe.request import Heard, TranscribeRequest, Transcript
from models.transcribe.samples import Samples
from models.transcribe.sequential import Sequential
from models.transcribe.speech import VadOptions
from models.transcribe.windows import Windows

log = logging.getLogger(__name__)

_DECODE_TIMEOUT_S = 180.0
_LIMIT_S = 12 * 3600.0
# No word is shorter, and OpenAI refuses such files. Whisper would guess for ten seconds.
_LEAST_S = 0.1
_PROMPT_TOKENS = 223  # Whisper reads the last ones of a longer prompt
_HOTWORD_TOKENS = 100  # that leave room for the text before, and for an answer
_AT_ONCE = {"cuda": 16, "cpu": 8}  # windows of a run
_AT_ONCE_LARGE = 4  # of a large model without a GPU: half a gigabyte each
_LARGE_BYTES = 4 * 10**9
# Spans are put end to end, so shorter silences are cut out, too; half of the usual at their ends
# makes for a fifth fewer windows and no more wrong words (benchmarks/transcribe.py).
_VAD_BATCHED = VadOptions(min_silence_duration_ms=160, speech_pad_ms=200)
_COMPUTE_TYPES = {"cuda": "float16", "cpu": "int8"}


class FasterWhisper:
    """A Whisper model in ctranslate2's form; emits ``Progress``, and ``Heard`` for a stream.

    Row options ``compute_type``: ctranslate2's; float16 on a GPU and int8 on a CPU by default.
    ``kernels``: the folder where the driver keeps what it compiles.
    """

    libraries = ("faster_whisper", "ctranslate2", "av")
    packs = False

    def __init__(self, model: Any, row: Row, kind: str) -> None:
        self._model = model
        self._row = row
        self._batched = kind == "cuda"
        large = kind == "cpu" and row.memory_bytes >= _LARGE_BYTES
        self.budget = _AT_ONCE_LARGE if large else _AT_ONCE[kind]
        self.capacity = self.budget if self._batched else 1
        self._windows = Windows(model, self._tokenizer, self._detect)
        self._sequential = Sequential(model, self._tokenizer, self._detect)
        self._known = [
            code
            for code in model.supported_languages
            if not model.model.is_multilingual or model.hf_tokenizer.token_to_id(f"<|{code}|>")
        ]

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FasterWhisper:
        """Load the folder; on a GPU, see that it works there.

        Raises:
            DriverTooOld: it does not.
        """
        shelf = row.options.get("kernels")
        if shelf is not None and (kernels := kept(shelf)) is not None:
            # Read by the driver, which makes no folder: the next start finds what it compiles.
            os.environ.setdefault("CUDA_CACHE_PATH", str(kernels))
        from faster_whisper import WhisperModel

        compute_type = row.options.get("compute_type") or _COMPUTE_TYPES[device.kind]
        make = partial(WhisperModel, str(folder), device=device.kind, compute_type=compute_type)
        model = selftest.checked(make, row) if device.kind == "cuda" else make()
        log.info("%s: computes in %s on %s", row.slug, model.model.compute_type, device.kind)
        return cls(model, row, device.kind)

    async def prepare(self, request: TranscribeRequest) -> Work:
        """Decode the file, and find where somebody speaks; cancelling the caller ends the decoding.

        Raises:
            InvalidValue: a language that the model does not know.
            UnsupportedParameter: a translation by a model that makes none; of a strict request,
                a field that changes nothing, too.
            ContextLengthExceeded: hotwords that leave no room.
            MediaUndecodable: the file holds no readable audio.
        """
        leniency = Leniency(request.strict)
        mode = request.mode or ("batched" if self._batched else "sequential")
        options = self._options(request, leniency, mode)
        try:
            decoded = await audio.decode(
                request.path, _DECODE_TIMEOUT_S, _LIMIT_S, amplify=request.vad is not False
            )
        except audio.Undecodable as error:
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
        """Write down a slice of a recording, or windows of several; stops within a window."""
        if isinstance(batch[0].item, Window):
            found = self._windows.run(batch)
            for ticket, segments in zip(batch, found, strict=True):
                if not isinstance(segments, Unfinished):
                    self._hear(ticket, segments)
            return found
        return [self._sequential.run(ticket) for ticket in batch]

    def close(self) -> None:
        """Drop the model."""
        self._windows.close()
        del self._model, self._windows, self._sequential

    # A request -----------------------------------------------------------------------------------

    def _options(self, request: TranscribeRequest, leniency: Leniency, mode: str) -> Any:
        """The library's own, with what is asked."""
        named = {"language": request.language} if request.language else {}
        named |= {f"languages[{index}]": one for index, one in enumerate(request.languages)}
        for param, code in named.items():
            if code not in self._known:
                raise InvalidValue(
                    f"{param} must be one of {', '.join(self._known)}; got {code!r}.", param=param
                )
        if request.task == "translate" and "translate" not in self._row.tasks:
            raise UnsupportedParameter(
                f"{self._row.slug} does not translate; ask a model that does.", param="task"
            )
        if request.hallucination_silence_s is not None and mode == "batched":
            leniency.leave_out(
                "hallucination_silence_threshold", "windows are cut where nobody speaks already"
            )
        return self._library_options(
            temperatures=list(request.temperatures),
            initial_prompt=self._prompt(request, leniency),
            hotwords=self._hotwords(request),
            # Silence around words is known by their times.
            word_timestamps=request.words
            or (request.hallucination_silence_s is not None and mode == "sequential"),
            condition_on_previous_text=request.condition and mode == "sequential",
            hallucination_silence_threshold=request.hallucination_silence_s,
            **({} if request.beams is None else {"beam_size": request.beams}),
        )

    def _prompt(self, request: TranscribeRequest, leniency: Leniency) -> Any:
        if not request.prompt:
            return None
        tokens = self._count(request.prompt)
        if len(tokens) > _PROMPT_TOKENS:
            leniency.leave_out(
                "prompt",
                f"the beginning of a prompt of {len(tokens)} tokens: Whisper reads the last "
                f"{_PROMPT_TOKENS}",
            )
        return request.prompt

    def _hotwords(self, request: TranscribeRequest) -> str | None:
        if not request.hotwords:
            return None
        length = len(self._count(request.hotwords))
        if length > _HOTWORD_TOKENS:
            raise ContextLengthExceeded(
                f"hotwords have {length} tokens; at most {_HOTWORD_TOKENS} leave room for what is "
                "said.",
                param="hotwords",
            )
        return request.hotwords

    def _count(self, text: str) -> Sequence[int]:
        ids: Sequence[int] = self._model.hf_tokenizer.encode(
            f" {text.strip()}", add_special_tokens=False
        ).ids
        return ids

    def _library_options(self, **given: Any) -> Any:
        """Its own defaults are those of ``transcribe``'s parameters."""
        import inspect
        from dataclasses import fields

        from faster_whisper.transcribe import TranscriptionOptions, get_suppressed_tokens

        usual = inspect.signature(self._model.transcribe).parameters
        names = {one.name for one in fields(TranscriptionOptions)} - {"temperatures"}
        values = {name: usual[name].default for name in names} | given
        tokenizer = self._made_tokenizer("en", "transcribe")
        values["suppress_tokens"] = get_suppressed_tokens(tokenizer, values["suppress_tokens"])
        return TranscriptionOptions(**values)

    def _work(self, recording: Recording, mode: str) -> Work:
        """The parts of a request; what the CPU has to do for them is done here."""
        request, extractor = recording.request, self._model.feature_extractor
        batched = mode == "batched"
        usual = _VAD_BATCHED if batched else VadOptions()
        options = replace(usual, **(request.vad_options or {}))
        if batched:
            longest_s = min(options.max_speech_duration_s, WINDOW_S)
            options = replace(options, max_speech_duration_s=longest_s)
        is_spoken = _look(recording, options) if request.vad is not False or batched else True
        finish = partial(_finish, recording)
        if not is_spoken or len(recording.audio.samples) < _LEAST_S * RATE_HZ:
            recording.language, recording.probability = recording.language or "en", 0.0
            return Work((), finish=finish)
        if mode == "sequential":
            mel = Mel(recording.samples, extractor, lambda: None)
            mel.prepare()
            whole = Whole(recording, mel)
            return Work((whole,), total=whole.windows, finish=finish)
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

    def _hear(self, ticket: Ticket[Window], segments: Sequence[dict[str, Any]]) -> None:
        item = ticket.item
        recording = item.recording
        done, total = round(item.seconds, 2), round(recording.audio.duration_s, 2)
        ticket.emit(Progress(item.part, done, total, "seconds"), lasting=False)
        if recording.request.stream:
            told = tuple(within(plain(one), recording) for one in segments)
            ticket.emit(Heard(item.part, told, last=True))

    def _detect(self, recording: Recording, features: Any) -> None:
        """Find a recording's language."""
        if not self._model.model.is_multilingual:
            recording.language, recording.probability = "en", 1.0
            return
        language, probability, said = self._model.detect_language(features=features)
        if recording.request.languages:
            allowed = [one for one in said if one[0] in recording.request.languages]
            language, probability = max(allowed, key=lambda one: one[1])
        recording.language, recording.probability = language, float(probability)

    def _tokenizer(self, recording: Recording) -> Any:
        return self._made_tokenizer(recording.language or "en", recording.request.task)

    def _made_tokenizer(self, language: str, task: str) -> Any:
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(
            self._model.hf_tokenizer,
            self._model.model.is_multilingual,
            task=task,
            language=language,
        )


def _look(recording: Recording, options: VadOptions) -> bool:
    """Find what of a recording is heard; returns whether that is anything."""
    activity = speech.activity(Samples(recording.audio.samples), options)
    recording.speech = activity.spans
    if recording.request.vad is False:  # all of it, silences and all
        recording.spoken = covering(activity.spans, len(recording.audio.samples))
        return True
    recording.spoken, recording.voiced = activity.spans, activity.voiced
    return bool(activity.spans) and activity.seconds >= _LEAST_S


def _finish(recording: Recording, parts: Sequence[Sequence[dict[str, Any]]]) -> Transcript:
    segments = [within(plain(one), recording) for part in parts for one in part]
    return Transcript(
        segments=[{**one, "id": index} for index, one in enumerate(segments, start=1)],
        language=recording.language or "en",
        language_probability=recording.probability,
        duration_s=recording.audio.duration_s,
        task=recording.request.task,
        damaged=recording.audio.damaged,
        declared_s=recording.audio.declared_s,
        left_out=tuple(recording.left_out),
        notes=recording.audio.notes,
    )

"""faster-whisper's options for a request, checked against the model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from models.errors import ContextLengthExceeded, InvalidValue, UnsupportedParameter
from models.leniency import Leniency
from models.row import Row
from models.transcribe.request import TranscribeRequest

_PROMPT_TOKENS = 223  # Whisper reads the last ones of a longer prompt
_HOTWORD_TOKENS = 100  # more would leave no room for the text before and the answer


class Options:
    """Makes the library's options for requests to one model.

    Args:
        model: faster-whisper's model.
        row: the model's row.
    """

    def __init__(self, model: Any, row: Row) -> None:
        self._model = model
        self._row = row
        self._known = [
            code
            for code in model.supported_languages
            if not model.model.is_multilingual or model.hf_tokenizer.token_to_id(f"<|{code}|>")
        ]

    def of(self, request: TranscribeRequest, leniency: Leniency, mode: str) -> Any:
        """Return faster-whisper's ``TranscriptionOptions`` for a request.

        Raises:
            InvalidValue: the model does not know a language.
            UnsupportedParameter: the model does not translate; or the request is strict and has a
                field without effect.
            ContextLengthExceeded: the hotwords are too long.
        """
        self._check_languages(request)
        if request.task == "translate" and "translate" not in self._row.tasks:
            raise UnsupportedParameter(
                f"{self._row.slug} does not translate; ask a model that does.", param="task"
            )
        if request.hallucination_silence_s is not None and mode == "batched":
            leniency.leave_out(
                "hallucination_silence_threshold", "windows are already cut at silences"
            )
        return self._merged(
            temperatures=list(request.temperatures),
            initial_prompt=self._prompt(request, leniency),
            hotwords=self._hotwords(request),
            # The library needs word times to find silence around words.
            word_timestamps=request.words
            or (request.hallucination_silence_s is not None and mode == "sequential"),
            condition_on_previous_text=request.condition and mode == "sequential",
            hallucination_silence_threshold=request.hallucination_silence_s,
            **({} if request.beams is None else {"beam_size": request.beams}),
        )

    def tokenizer(self, language: str, task: str) -> Any:
        """Return the library's tokenizer for a language and a task."""
        from faster_whisper.tokenizer import Tokenizer

        return Tokenizer(
            self._model.hf_tokenizer,
            self._model.model.is_multilingual,
            task=task,
            language=language,
        )

    def _check_languages(self, request: TranscribeRequest) -> None:
        codes = {"language": request.language} if request.language else {}
        codes |= {f"languages[{index}]": code for index, code in enumerate(request.languages)}
        for param, code in codes.items():
            if code not in self._known:
                raise InvalidValue(
                    f"{param} must be one of {', '.join(self._known)}; got {code!r}.", param=param
                )

    def _prompt(self, request: TranscribeRequest, leniency: Leniency) -> str | None:
        if not request.prompt:
            return None
        length = len(self._encoded(request.prompt))
        if length > _PROMPT_TOKENS:
            leniency.leave_out(
                "prompt",
                f"the beginning of a prompt of {length} tokens: Whisper reads the last "
                f"{_PROMPT_TOKENS}",
            )
        return request.prompt

    def _hotwords(self, request: TranscribeRequest) -> str | None:
        if not request.hotwords:
            return None
        length = len(self._encoded(request.hotwords))
        if length > _HOTWORD_TOKENS:
            raise ContextLengthExceeded(
                f"hotwords have {length} tokens; at most {_HOTWORD_TOKENS} leave room for what is "
                "said.",
                param="hotwords",
            )
        return request.hotwords

    def _encoded(self, text: str) -> Sequence[int]:
        ids: Sequence[int] = self._model.hf_tokenizer.encode(
            f" {text.strip()}", add_special_tokens=False
        ).ids
        return ids

    def _merged(self, **given: Any) -> Any:
        """Return the defaults of the library's ``transcribe``, updated with the given options."""
        from faster_whisper.transcribe import TranscriptionOptions, get_suppressed_tokens

        usual = inspect.signature(self._model.transcribe).parameters
        names = {field.name for field in fields(TranscriptionOptions)} - {"temperatures"}
        values = {name: usual[name].default for name in names} | given
        tokenizer = self.tokenizer("en", "transcribe")
        values["suppress_tokens"] = get_suppressed_tokens(tokenizer, values["suppress_tokens"])
        return TranscriptionOptions(**values)

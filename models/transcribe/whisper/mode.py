"""The base class of both modes of transcription."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.transcribe.whisper.mel import Mel
from models.transcribe.whisper.recording import Recording


class Mode:
    """A mode of transcription.

    Args:
        model: faster-whisper's model.
        tokenizer: makes the tokenizer of a recording whose language is known.
        detect: detects a recording's language from its first frames.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Callable[[Recording], Any],
        detect: Callable[[Recording, Any], None],
    ) -> None:
        self._model = model
        self._detect = detect
        self._made_tokenizer = tokenizer

    def _tokenizer(self, recording: Recording, mel: Mel) -> Any:
        """Return the tokenizer of the recording's language, which is detected if unknown.

        Args:
            recording: the recording.
            mel: a spectrogram that begins with speech.
        """
        if recording.language is None:
            self._detect(recording, mel[:, : self._model.feature_extractor.nb_max_frames])
        return self._made_tokenizer(recording)

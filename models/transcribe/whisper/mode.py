"""What both modes of transcription share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.transcribe.whisper.mel import Mel
from models.transcribe.whisper.recording import Recording


class Mode:
    """A mode of transcription: a model, and the tokenizer of a recording's language.

    Args:
        model: faster-whisper's.
        tokenizer: makes one for a recording whose language is known.
        detect: finds a recording's language, of its first frames.
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
        """That of the recording's language, which is found where nobody has said it.

        Args:
            recording: whose.
            mel: a spectrum that begins with what is spoken.
        """
        if recording.language is None:
            self._detect(recording, mel[:, : self._model.feature_extractor.nb_max_frames])
        return self._made_tokenizer(recording)

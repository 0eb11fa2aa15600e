"""Transcription and translation with faster-whisper (ctranslate2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from models.device.hardware import Device
from models.errors import InvalidValue, MediaUndecodable
from models.row import Row
from models.surface import Ticket, Work
from models.transcribe import audio
from models.transcribe.request import TranscribeRequest, Transcript

_DECODE_TIMEOUT_S = 120.0
_LIMIT_S = 6 * 3600.0


@dataclass(frozen=True)
class TranscribeItem:
    """Decoded samples (float32, 16 kHz mono) and the library's arguments."""

    samples: Any
    arguments: dict[str, Any]


class FasterWhisper:
    """A Whisper model in ctranslate2's form; emits each segment as soon as it is known."""

    budget = None
    capacity = 1
    packs = False

    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def load(cls, folder: Path, row: Row, device: Device) -> FasterWhisper:
        """Load the folder: float16 on a GPU, float32 on a CPU."""
        from faster_whisper import WhisperModel

        compute_type = "float16" if device.kind == "cuda" else "float32"
        return cls(WhisperModel(str(folder), device=device.kind, compute_type=compute_type))

    async def prepare(self, request: TranscribeRequest) -> Work:
        """Decode the audio; a file is one part: conditioning on earlier text makes it a sequence.

        Raises:
            InvalidValue: a language that the model does not know.
            MediaUndecodable: the file holds no readable audio.
        """
        known = self._model.supported_languages
        if request.language is not None and request.language not in known:
            raise InvalidValue(
                f"language must be one of {', '.join(known)}; got {request.language!r}.",
                param="language",
            )
        try:
            samples = await audio.decode(request.path, _DECODE_TIMEOUT_S, _LIMIT_S)
        except audio.Undecodable as error:
            raise MediaUndecodable(
                f"The audio cannot be used: {error}. Send a common format such as wav, mp3, flac, "
                "ogg, m4a or webm.",
                param="audioUrl",
            ) from error
        arguments: dict[str, Any] = {
            "language": request.language,
            "task": request.task,
            "initial_prompt": request.prompt,
            "temperature": list(request.temperatures),
            "word_timestamps": request.words,
            "vad_filter": request.vad,
            "hotwords": request.hotwords,
        }
        if request.beams is not None:
            arguments["beam_size"] = request.beams
        return Work((TranscribeItem(samples, arguments),))

    def run(self, batch: Sequence[Ticket[TranscribeItem]]) -> list[Transcript]:
        """Transcribe; stops after the current segment once a ticket is cancelled."""
        return [self._transcribe(ticket) for ticket in batch]

    def close(self) -> None:
        """Drop the model."""
        self._model = None

    def _transcribe(self, ticket: Ticket[TranscribeItem]) -> Transcript:
        segments, info = self._model.transcribe(ticket.item.samples, **ticket.item.arguments)
        done: list[dict[str, Any]] = []
        for segment in segments:
            done.append(_plain(asdict(segment)))
            ticket.emit(done[-1])
            if ticket.cancelled:
                break
        return Transcript(
            segments=done,
            language=info.language,
            language_probability=float(info.language_probability),
            duration_s=float(info.duration),
            task=ticket.item.arguments["task"],
        )


def _plain(value: Any) -> Any:
    """The same without numpy: word times come as numpy's floats, which are no JSON."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return float(value) if isinstance(value, float) else value

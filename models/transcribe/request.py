"""What is asked of an engine that writes down speech, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

# OpenAI's: again, less greedily, when a segment looks wrong.
FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class TranscribeRequest:
    """One audio file to write down.

    Attributes:
        path: the file, in any common container.
        language: Whisper's code (``en``), None to detect it.
        task: ``transcribe``, or ``translate`` into English.
        prompt: text that the audio may continue, for names and style.
        temperatures: of sampling, 0 = greedy; each is tried where the one before went wrong.
        words: whether to time every word.
        vad: whether to skip silence before the model sees it.
        hotwords: words to expect.
        beams: how many beginnings of a segment are followed at once; None = the library's own.
    """

    path: Path
    language: str | None = None
    task: str = "transcribe"
    prompt: str | None = None
    temperatures: tuple[float, ...] = FALLBACK
    words: bool = False
    vad: bool = False
    hotwords: str | None = None
    beams: int | None = None


@dataclass(frozen=True)
class Transcript:
    """What was said: segments as faster-whisper gives them, as plain dicts; times in seconds."""

    segments: list[dict[str, Any]]
    language: str
    language_probability: float
    duration_s: float
    task: str

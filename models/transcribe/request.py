"""What is asked of an engine that writes down speech, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class TranscribeRequest:
    """One audio file to write down.

    Attributes:
        path: the file, in any common container.
        language: Whisper's code (``en``), None to detect it.
        task: ``transcribe``, or ``translate`` into English.
        prompt: text that the audio may continue, for names and style.
        temperature: 0 = greedy with fallback to higher ones; else this one only.
        words: whether to time every word.
        vad: whether to skip silence before the model sees it.
        hotwords: words to expect.
    """

    path: Path
    language: str | None = None
    task: str = "transcribe"
    prompt: str | None = None
    temperature: float = 0.0
    words: bool = False
    vad: bool = False
    hotwords: str | None = None


@dataclass(frozen=True)
class Transcript:
    """What was said: segments as faster-whisper gives them, as plain dicts; times in seconds."""

    segments: list[dict[str, Any]]
    language: str
    language_probability: float
    duration_s: float
    task: str

"""What is asked of an engine that writes down speech, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.leniency import LeftOut

# OpenAI's: again, less greedily, when a segment looks wrong.
FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class TranscribeRequest:
    """One audio file to write down.

    Attributes:
        path: the file, in any common container.
        language: Whisper's code (``en``), None to detect it.
        languages: of which one is detected; empty = any.
        task: ``transcribe``, or ``translate`` into English.
        prompt: text that the audio may continue, for names and style.
        temperatures: of sampling, 0 = greedy; each is tried where the one before went wrong.
        words: whether to time every word.
        vad: whether silences are cut out before the model hears the recording; None = as True.
            False = it hears all, in sequential mode as by the library's own loop.
        vad_options: of ``models.transcribe.audio.voice_activity.VadOptions``.
        hotwords: words to expect.
        beams: how many beginnings of a segment are followed at once; None = the library's own.
        condition: whether each window is told the text of those before.
        hallucination_silence_s: silence around suspicious words that is skipped, with ``words``.
        mode: ``sequential``, or ``batched``: windows by themselves, and many at once; None = the
            device's own.
        logprobs: whether to say how likely each token is.
        stream: whether segments are told as they are known.
        strict: whether a field that the model has no use for fails the request.
    """

    path: Path
    language: str | None = None
    languages: tuple[str, ...] = ()
    task: str = "transcribe"
    prompt: str | None = None
    temperatures: tuple[float, ...] = FALLBACK
    words: bool = False
    vad: bool | None = None
    vad_options: Mapping[str, float] | None = None
    hotwords: str | None = None
    beams: int | None = None
    condition: bool = True
    hallucination_silence_s: float | None = None
    mode: str | None = None
    logprobs: bool = False
    stream: bool = False
    strict: bool = False


@dataclass(frozen=True)
class SpeakersRequest:
    """One audio file whose speakers are to be told apart.

    Attributes:
        path: the file, in any common container.
        speakers: how many there are, None = that is to be found.
        names, voices: of speakers that are known, and files in which each of them speaks.
    """

    path: Path
    speakers: int | None = None
    names: tuple[str, ...] = ()
    voices: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Turn:
    """When somebody speaks, in seconds; turns may overlap."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class Heard:
    """An event: segments of one part of a recording, as in ``Transcript``; parts come in any order.

    Attributes:
        part: which.
        segments: the next of it.
        last: whether there are no more.
    """

    part: int
    segments: tuple[dict[str, Any], ...]
    last: bool = False


@dataclass(frozen=True)
class Transcript:
    """What was said: segments as faster-whisper gives them, as plain dicts; times in seconds.

    Attributes:
        damaged: stretches that could not be read, from when and for how long, in seconds.
        declared_s: how long the file says that its track is, where that is cut off.
        notes: codes and messages of what else there is to know of the file.
        left_out: the fields that the model has no use for.
    """

    segments: list[dict[str, Any]]
    language: str
    language_probability: float
    duration_s: float
    task: str
    damaged: tuple[tuple[float, float], ...] = ()
    declared_s: float | None = None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()

"""The requests to the transcription and diarization engines, and their results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.leniency import LeftOut

# OpenAI's temperatures: a segment that looks wrong is decoded again at the next one.
FALLBACK = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class TranscribeRequest:
    """A request to transcribe an audio file.

    Attributes:
        path: the file, in any common container.
        language: Whisper's code (``en``), None to detect it.
        languages: candidates for detection; empty = any.
        task: ``transcribe``, or ``translate`` into English.
        prompt: text that the audio continues, to guide names and style.
        temperatures: for sampling, 0 = greedy; each is tried if the result of the one before looks
            wrong.
        words: whether to time every word.
        vad: whether to cut out silences before transcribing; None = True. If False, the model gets
            the whole recording, in sequential mode by the library's own loop.
        vad_options: fields of ``models.transcribe.audio.voice_activity.VadOptions``.
        hotwords: words to expect.
        beams: the beam size; None = the library's default.
        condition: whether each window is conditioned on the text of the windows before.
        hallucination_silence_s: skip silence of this length around suspicious words; needs
            ``words``.
        mode: ``sequential``, or ``batched``: independent windows, many at once; None = the
            device's default.
        logprobs: whether to return the log probability of each token.
        stream: whether to emit segments as soon as they are transcribed.
        strict: whether a field that the model cannot use fails the request.
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
    """A request to find out who speaks when in an audio file.

    Attributes:
        path: the file, in any common container.
        speakers: the number of speakers; None = detect it.
        names, voices: names of known speakers, and for each a file with a sample of their voice.
    """

    path: Path
    speakers: int | None = None
    names: tuple[str, ...] = ()
    voices: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Turn:
    """A stretch in which one speaker talks, in seconds; turns may overlap."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class Heard:
    """An event: new segments of one part of a recording, shaped as in ``Transcript``.

    Parts finish in any order.

    Attributes:
        part: the index of the part.
        segments: the next segments of that part.
        last: whether these are the part's last segments.
    """

    part: int
    segments: tuple[dict[str, Any], ...]
    last: bool = False


@dataclass(frozen=True)
class Transcript:
    """The result: faster-whisper's segments as plain dicts, with times in seconds.

    Attributes:
        damaged: unreadable stretches of the file, as start and length in seconds.
        declared_s: the track's duration by the file's header, if the file is cut off.
        notes: codes and messages about the file for the client.
        left_out: the request's fields that were not applied.
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

"""A transcript in OpenAI's shapes.

An object for ``json``, ``verbose_json`` and ``diarized_json``. For ``text``, ``srt`` and ``vtt`` a
plain string on OpenAI's routes, and on a plain job an object that holds it: who reads a job's
output expects one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import chain
from typing import Any, TypedDict

from handler.contract.base import Call, Json, with_notice
from handler.contract.transcribe.languages import language_name
from handler.contract.transcribe.request import TranscriptionRequest
from handler.contract.transcribe.speakers import told_apart
from handler.contract.transcribe.subtitles import srt, vtt
from models.transcribe.request import Transcript, Turn


class Segment(TypedDict):
    """OpenAI's TranscriptionSegment; times in seconds."""

    id: int
    seek: int
    start: float
    end: float
    text: str
    tokens: list[int]
    temperature: float
    avg_logprob: float
    compression_ratio: float
    no_speech_prob: float


def shaped(transcript: Transcript, call: Call, turns: Sequence[Turn] | None = None) -> Json:
    """The answer, in the format that is asked for; with whose turn it was for ``diarized_json``."""
    request: TranscriptionRequest = call.request
    text = "".join(segment["text"] for segment in transcript.segments).strip()
    usage = {"type": "duration", "seconds": math.ceil(transcript.duration_s)}
    facts = {
        "language_code": transcript.language,
        "language_probability": transcript.language_probability,
        "model": call.row.slug,
    }
    if request.format in ("text", "srt", "vtt"):
        plain_text = _plain_text(transcript, request, text)
        if call.route is not None:
            return plain_text
        held = {"text": plain_text, "format": request.format, "usage": usage, **facts}
        return _with_warnings(with_notice(held, call.row), transcript, call)
    if request.format == "json":
        languages = [{"code": transcript.language}] if transcript.segments else []
        duration = round(transcript.duration_s, 3)
        plain = {"text": text, "languages": languages, "usage": usage, "duration": duration}
        if request.include:
            said = (segment["logprobs"] for segment in transcript.segments)
            plain["logprobs"] = list(chain.from_iterable(said))
        return _with_warnings(with_notice({**plain, **facts}, call.row), transcript, call)
    if turns is not None:
        diarized = {
            "task": transcript.task,
            "duration": round(transcript.duration_s, 3),
            "text": text,
            "segments": list(told_apart(transcript.segments, turns)),
            "usage": usage,
            **facts,
        }
        noticed = with_notice(diarized, call.row, call.helpers["speakers"].row)
        return _with_warnings(noticed, transcript, call)
    translated = transcript.task == "translate"
    verbose: dict[str, Any] = {
        "text": text,
        "language": "english" if translated else language_name(transcript.language),
        "duration": round(transcript.duration_s, 3),
        "segments": [_segment(index, one) for index, one in enumerate(transcript.segments)],
        "usage": usage,
        "task": transcript.task,
        **facts,
    }
    if request.words:
        verbose["words"] = [
            {"word": word["word"].strip(), "start": word["start"], "end": word["end"]}
            for segment in transcript.segments
            for word in segment["words"] or ()
        ]
    return _with_warnings(with_notice(verbose, call.row), transcript, call)


def _plain_text(transcript: Transcript, request: TranscriptionRequest, text: str) -> str:
    """The transcript in a format that is no JSON."""
    if request.format == "text":
        return text
    write = srt if request.format == "srt" else vtt
    return write(transcript.segments, request.max_line_width, request.max_line_count)


def _with_warnings(answer: dict[str, Any], transcript: Transcript, call: Call) -> dict[str, Any]:
    """Add what was left out, and what there is to know of the file."""
    audio = call.request.called("audioUrl")
    told = [{"param": field.param, "message": field.message} for field in transcript.left_out]
    if transcript.damaged:
        told.append(
            {"param": audio, "code": "media_damaged", "message": _damage(transcript.damaged)}
        )
    if transcript.declared_s is not None:
        message = (
            f"The file says that its sound has {transcript.declared_s:.1f} s and ends after "
            f"{transcript.duration_s:.1f} s: it is cut off."
        )
        told.append({"param": audio, "code": "media_truncated", "message": message})
    told += [
        {"param": audio, "code": code, "message": message} for code, message in transcript.notes
    ]
    return {**answer, "warnings": told} if told else answer


def _damage(damaged: Sequence[tuple[float, float]]) -> str:
    places = ", ".join(f"{start:.1f} s" for start, _ in damaged[:5])
    more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
    seconds = sum(length for _, length in damaged)
    return (
        f"{seconds:.2f} s of the audio could not be read, at {places}{more}; they were taken for "
        "silence."
    )


def _segment(index: int, raw: dict[str, Any]) -> Segment:
    """faster-whisper counts segments from 1, OpenAI from 0; the rest is the same."""
    return {
        "id": index,
        "seek": raw["seek"],
        "start": raw["start"],
        "end": raw["end"],
        "text": raw["text"],
        "tokens": list(raw["tokens"]),
        "temperature": float(raw["temperature"]),
        "avg_logprob": raw["avg_logprob"],
        "compression_ratio": raw["compression_ratio"],
        "no_speech_prob": raw["no_speech_prob"],
    }

"""Transcription: ``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``.

The answer's shapes are OpenAI's: an object for ``json`` and ``verbose_json``, a plain string for
``text``, ``srt`` and ``vtt``.
"""

from __future__ import annotations

import math
from typing import Any, NotRequired, TypedDict

from handler.contract.base import (
    Call,
    Json,
    Operation,
    Surface,
    with_notice,
)
from handler.contract.transcribe.languages import language_name
from handler.contract.transcribe.request import URL_NAMES, TranscriptionRequest
from handler.contract.transcribe.subtitles import srt, vtt
from models.transcribe.request import TranscribeRequest, Transcript

AUDIO_LIMIT_BYTES = 1024 * 1024 * 1024


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


class Word(TypedDict):
    """OpenAI's TranscriptionWord; times in seconds."""

    word: str
    start: float
    end: float


class VerboseTranscription(TypedDict):
    """OpenAI's TranscriptionVerbose; the last four are our extensions."""

    text: str
    language: str
    duration: float
    segments: list[Segment]
    words: NotRequired[list[Word]]
    usage: dict[str, Any]
    task: str
    language_code: str
    language_probability: float
    model: str


async def answer(call: Call) -> Json:
    """Write down one file."""
    request: TranscriptionRequest = call.request
    called = request.called("audioUrl")
    path = await call.door.fetch(request.audioUrl, called, AUDIO_LIMIT_BYTES)
    translate = request.translate or (call.route or "").endswith("/translations")
    engine_request = TranscribeRequest(
        path=path,
        language=request.language,
        task="translate" if translate else (request.task or "transcribe"),
        prompt=request.prompt,
        temperatures=request.temperatures,
        words=request.words,
        vad=request.vad_filter,
        hotwords=request.hotwords,
        beams=request.beam_size,
    )
    async with call.lease() as model:
        transcript: Transcript = await model.run(engine_request)
    return _shape(transcript, call)


def _shape(transcript: Transcript, call: Call) -> Json:
    request: TranscriptionRequest = call.request
    text = "".join(segment["text"] for segment in transcript.segments).strip()
    usage = {"type": "duration", "seconds": math.ceil(transcript.duration_s)}
    if request.format == "text":
        return text
    if request.format == "srt":
        return srt(transcript.segments)
    if request.format == "vtt":
        return vtt(transcript.segments)
    if request.format == "json":
        return with_notice({"text": text, "usage": usage}, call.row)
    verbose: VerboseTranscription = {
        "text": text,
        "language": language_name(transcript.language),
        "duration": round(transcript.duration_s, 3),
        "segments": [_segment(index, one) for index, one in enumerate(transcript.segments)],
        "usage": usage,
        "task": transcript.task,
        "language_code": transcript.language,
        "language_probability": transcript.language_probability,
        "model": call.row.slug,
    }
    if request.words:
        verbose["words"] = [
            {"word": word["word"].strip(), "start": word["start"], "end": word["end"]}
            for segment in transcript.segments
            for word in segment["words"] or ()
        ]
    return with_notice({**verbose}, call.row)


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


_ROUTES = ("/v1/audio/transcriptions", "/v1/audio/translations")

SURFACE = Surface(
    name="transcribe",
    companions=frozenset({"prompt", "documents"}),
    operations=(Operation(TranscriptionRequest, _ROUTES, answer, marks=("audioUrl", *URL_NAMES)),),
    concurrency=2,
)

"""Transcription: ``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``.

The answer's shapes are OpenAI's: an object for ``json`` and ``verbose_json``, a plain string for
``text``, ``srt`` and ``vtt``; in a stream its events.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, NotRequired, TypedDict

from handler.contract.base import (
    Call,
    Json,
    Operation,
    Surface,
    run_told,
    with_notice,
)
from handler.contract.streaming import to_client
from handler.contract.transcribe.languages import language_name
from handler.contract.transcribe.request import URL_NAMES, TranscriptionRequest
from handler.contract.transcribe.subtitles import srt, vtt
from models.transcribe.request import Heard, TranscribeRequest, Transcript

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
    """OpenAI's TranscriptionVerbose; those from ``task`` on are our extensions."""

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
    transcript = await run_told(call, await _to_engine(call))
    if not isinstance(transcript, Transcript):
        raise TypeError(f"{call.row.slug} ended with {type(transcript).__name__}")
    return _shape(transcript, call)


async def stream(call: Call) -> AsyncGenerator[Any, None]:
    """Write down one file, and tell the text as it is known, in OpenAI's events."""
    async with aclosing(to_client(_events(call), _merged, call.route, named=True)) as events:
        async for event in events:
            yield event


async def _events(call: Call) -> AsyncGenerator[dict[str, Any], None]:
    request = await _to_engine(call)
    order, first = _InOrder(), True
    async with call.lease() as model, aclosing(model.stream(request)) as events:
        async for event in events:
            for segment in order.next(event) if isinstance(event, Heard) else ():
                text = segment["text"].lstrip() if first else segment["text"]
                first = False
                yield {"type": "transcript.text.delta", "delta": text}
            transcript = event
    # Whole, as the answer is in one piece: its text, and all that a form of JSON has.
    shaped = _shape(transcript, call)
    fields = {"text": shaped} if isinstance(shaped, str) else shaped
    tokens = sum(len(one["tokens"]) for one in transcript.segments)
    usage = {"type": "tokens", "input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    yield {"type": "transcript.text.done", **fields, "usage": usage}


class _InOrder:
    """Segments of parts that come in any order, in the order of the recording."""

    def __init__(self) -> None:
        self._part = 0
        self._waiting: dict[int, Heard] = {}

    def next(self, heard: Heard) -> list[dict[str, Any]]:
        """What can be told now."""
        if not heard.last:
            return list(heard.segments)
        self._waiting[heard.part] = heard
        told: list[dict[str, Any]] = []
        while (ready := self._waiting.pop(self._part, None)) is not None:
            told += ready.segments
            self._part += 1
        return told


def _merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any] | None:
    if left["type"] == right["type"] == "transcript.text.delta":
        return {**left, "delta": left["delta"] + right["delta"]}
    return None


async def _to_engine(call: Call) -> TranscribeRequest:
    request: TranscriptionRequest = call.request
    called = request.called("audioUrl")
    path = await call.door.fetch(request.audioUrl, called, AUDIO_LIMIT_BYTES)
    translate = request.translate or (call.route or "").endswith("/translations")
    return TranscribeRequest(
        path=path,
        language=request.language,
        languages=tuple(request.languages or ()),
        task="translate" if translate else (request.task or "transcribe"),
        prompt=request.prompt,
        temperatures=request.temperatures,
        words=request.words,
        vad=request.vad,
        vad_options=request.vad_options,
        hotwords=request.expected,
        beams=request.beam_size,
        condition=request.condition_on_previous_text,
        hallucination_silence_s=request.hallucination_silence_threshold,
        mode=request.mode,
        stream=request.stream,
        strict=request.strict,
    )


def _shape(transcript: Transcript, call: Call) -> Json:
    request: TranscriptionRequest = call.request
    text = "".join(segment["text"] for segment in transcript.segments).strip()
    usage = {"type": "duration", "seconds": math.ceil(transcript.duration_s)}
    if request.format == "text":
        return text
    if request.format in ("srt", "vtt"):
        write = srt if request.format == "srt" else vtt
        return write(transcript.segments, request.max_line_width, request.max_line_count)
    facts = {
        "language_code": transcript.language,
        "language_probability": transcript.language_probability,
        "model": call.row.slug,
    }
    if request.format == "json":
        languages = [{"code": transcript.language}] if transcript.segments else []
        duration = round(transcript.duration_s, 3)
        plain = {"text": text, "languages": languages, "usage": usage, "duration": duration}
        return _with_warnings(with_notice({**plain, **facts}, call.row), transcript, call)
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


def _with_warnings(answer: dict[str, Any], transcript: Transcript, call: Call) -> dict[str, Any]:
    """Add what was left out, and what of the file could not be read."""
    audio = call.request.called("audioUrl")
    told = [{"param": one.param, "message": one.message} for one in transcript.left_out]
    if transcript.damaged:
        told.append(
            {"param": audio, "code": "media_damaged", "message": _damage(transcript.damaged)}
        )
    if transcript.declared_s is not None:
        message = (
            f"The file says that it has {transcript.declared_s:.1f} s and ends after "
            f"{transcript.duration_s:.1f} s: it is cut off."
        )
        told.append({"param": audio, "code": "media_truncated", "message": message})
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


_ROUTES = ("/v1/audio/transcriptions", "/v1/audio/translations")

SURFACE = Surface(
    name="transcribe",
    companions=frozenset({"prompt", "documents"}),
    operations=(
        Operation(TranscriptionRequest, _ROUTES, answer, stream, marks=("audioUrl", *URL_NAMES)),
    ),
    concurrency=2,
)

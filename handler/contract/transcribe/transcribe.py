"""Transcription: ``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``.

Speakers are told apart by another model, while the text is written down.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

from handler.contract.base import (
    Call,
    Json,
    Operation,
    Surface,
    run_told,
)
from handler.contract.streaming import Whole, to_client
from handler.contract.transcribe.events import InOrder, Telling, merged
from handler.contract.transcribe.request import URL_NAMES, TranscriptionRequest
from handler.contract.transcribe.shapes import shaped
from handler.contract.transcribe.speakers import Turns
from models.errors import InvalidValue, UnsupportedParameter
from models.transcribe.request import (
    Heard,
    SpeakersRequest,
    TranscribeRequest,
    Transcript,
    Turn,
)

AUDIO_LIMIT_BYTES = 1024 * 1024 * 1024
VOICE_LIMIT_BYTES = 10 * 1024 * 1024  # ten seconds in any form


async def answer(call: Call) -> Json:
    """Write down one file."""
    request = await _to_engine(call)
    turns: Sequence[Turn] | None = None
    if call.request.format == "diarized_json":
        transcript, turns = await _together(run_told(call, request), _turns(call, request.path))
    else:
        transcript = await run_told(call, request)
    if not isinstance(transcript, Transcript):
        raise TypeError(f"{call.row.slug} ended with {type(transcript).__name__}")
    return shaped(transcript, call, turns)


async def _together(*asked: Coroutine[Any, Any, Any]) -> list[Any]:
    """All of it, or the error of the first that fails; the others are stopped then."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in asked]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


async def stream(call: Call) -> AsyncGenerator[Any, None]:
    """Write down one file, and tell the text as it is known, in OpenAI's events."""
    async with aclosing(to_client(_events(call), merged, call.route, named=True)) as events:
        async for event in events:
            yield event


async def _events(call: Call) -> AsyncGenerator[dict[str, Any] | Whole, None]:
    request = await _to_engine(call)
    order, telling = InOrder(), Telling()
    heard: Turns | None = None
    async with (
        _found_meanwhile(call, request.path) as finding,
        call.lease() as model,
        aclosing(model.stream(request)) as events,
    ):
        async for event in events:
            for segment in order.next(event) if isinstance(event, Heard) else ():
                if finding is not None and heard is None:
                    heard = Turns(await finding)
                for told in telling.events(segment, heard):
                    yield told
            transcript = event
        found = None if finding is None else await finding
    # Whole, as the answer is in one piece: its text, and all that a form of JSON has.
    whole = shaped(transcript, call, found)
    fields = {"text": whole} if isinstance(whole, str) else whole
    tokens = sum(len(segment["tokens"]) for segment in transcript.segments)
    usage = {"type": "tokens", "input_tokens": 0, "output_tokens": tokens, "total_tokens": tokens}
    yield {"type": "transcript.text.done", **fields, "usage": usage}
    yield Whole(whole)


@asynccontextmanager
async def _found_meanwhile(
    call: Call, path: Path
) -> AsyncIterator[asyncio.Task[Sequence[Turn]] | None]:
    """Tell speakers apart while the text is transcribed; None where nobody asks for it."""
    if call.request.format != "diarized_json":
        yield None
        return
    finding = asyncio.create_task(_turns(call, path))
    try:
        yield finding
    finally:
        finding.cancel()
        await asyncio.gather(finding, return_exceptions=True)


async def _turns(call: Call, path: Path) -> Sequence[Turn]:
    """Return the turns of the speakers.

    Raises:
        UnsupportedParameter: nobody can tell here.
    """
    request: TranscriptionRequest = call.request
    diarizer = call.helpers.get("speakers")
    if diarizer is None:
        raise UnsupportedParameter(
            "This worker cannot tell speakers apart: its image is built without sherpa-onnx "
            "(EXTRA=diarize). Ask for json or verbose_json.",
            param="response_format",
        )
    voices = [
        await call.door.fetch(voice, f"known_speaker_references[{index}]", VOICE_LIMIT_BYTES)
        for index, voice in enumerate(request.known_speaker_references)
    ]
    names = tuple(request.known_speaker_names)
    asked = SpeakersRequest(path, request.num_speakers, names, tuple(voices))
    turns: Sequence[Turn] = await diarizer.run(asked)
    return turns


async def _to_engine(call: Call) -> TranscribeRequest:
    request: TranscriptionRequest = call.request
    asked = request.translate or request.task == "translate"
    translate = asked or (call.route or "").endswith("/translations")
    if translate and request.format == "diarized_json":
        raise InvalidValue(
            "diarized_json is of a transcription, not of a translation.", param="response_format"
        )
    called = request.called("audioUrl")
    path = await call.door.fetch(request.audioUrl, called, AUDIO_LIMIT_BYTES)
    return TranscribeRequest(
        path=path,
        language=request.language,
        languages=tuple(request.languages or ()),
        task="translate" if translate else "transcribe",
        prompt=request.prompt,
        temperatures=request.temperatures,
        # Speakers and lines of subtitles change between words.
        words=request.words or request.format == "diarized_json" or request.bounded,
        vad=request.vad,
        vad_options=request.vad_options,
        hotwords=request.expected,
        beams=request.beam_size,
        condition=request.condition_on_previous_text,
        hallucination_silence_s=request.hallucination_silence_threshold,
        mode=request.mode,
        logprobs="logprobs" in request.include,
        stream=request.stream,
        strict=request.strict,
    )


_ROUTES = ("/v1/audio/transcriptions", "/v1/audio/translations")

SURFACE = Surface(
    name="transcribe",
    companions=frozenset({"prompt", "documents"}),
    generic=frozenset(
        {
            "whisper-1",
            "gpt-transcribe",
            "gpt-4o-transcribe",
            "gpt-4o-mini-transcribe",
            "gpt-4o-transcribe-diarize",
        }
    ),
    operations=(
        Operation(
            TranscriptionRequest,
            _ROUTES,
            answer,
            stream,
            marks=("audioUrl", *URL_NAMES, "audio", "audio_base64"),
        ),
    ),
    concurrency=2,
)

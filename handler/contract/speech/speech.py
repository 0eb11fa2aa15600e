"""Speech: ``POST /v1/audio/speech``.

Over HTTP the answer is the sound, whole or as it is made. Behind the queue it is an object with the
sound's address or the sound as base64, and its stream is OpenAI's events.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from handler.contract.base import Call, Operation, Surface, run_told, with_notice
from handler.contract.speech.request import SpeechRequest
from handler.contract.streaming import Whole, to_client
from handler.contract.warnings import with_warnings
from handler.wire import Encoded, File, about_header
from models.leniency import LeftOut
from models.row import Row
from models.sound.formats import FORMATS
from models.speech.request import (
    Begun,
    Output,
    Sound,
    SpeakRequest,
    Speech,
    told_languages,
)

_PIECE_BYTES = 180_000  # of sound in an event: as base64 far below what the platform takes


async def answer(call: Call) -> File:
    """Speak one text."""
    spoken = await run_told(call, _to_engine(call, streamed=False))
    if not isinstance(spoken, Speech):
        raise TypeError(f"{call.row.slug} ended with {type(spoken).__name__}")
    return _file(call, spoken)


async def stream(call: Call) -> AsyncGenerator[Any, None]:
    """Speak one text, and hand over its sound as it is made.

    Over HTTP it is the sound itself, unless the client asks for events.
    """
    if call.carries_files and call.request.stream_format != "sse":
        async with aclosing(_pieces(call)) as pieces:
            async for piece in pieces:
                yield piece
        return
    async with aclosing(to_client(_events(call), _apart, call.route, named=True)) as events:
        async for event in events:
            yield event


async def _pieces(call: Call) -> AsyncGenerator[Encoded, None]:
    """The bytes of the file; the first of them say what there is to know of it."""
    headers: dict[str, str] = {}
    media_type = FORMATS[call.request.response_format].media_type
    request = _to_engine(call, streamed=True)
    async with call.lease() as model, aclosing(model.stream(request)) as events:
        async for event in events:
            if isinstance(event, Begun):
                facts = {"format": call.request.response_format, "sample_rate": event.rate_hz}
                headers = about_header(_told(call, facts, event.left_out))
            elif isinstance(event, Sound) and event.content:
                yield Encoded(event.content, media_type, headers)


async def _events(call: Call) -> AsyncGenerator[dict[str, Any] | Whole, None]:
    """OpenAI's events; the last also has what an answer in one piece says."""
    request = _to_engine(call, streamed=True)
    spoken = None
    async with call.lease() as model, aclosing(model.stream(request)) as events:
        async for event in events:
            for piece in _cut(event.content) if isinstance(event, Sound) else ():
                yield {"type": "speech.audio.delta", "audio": piece}
            spoken = event
    if not isinstance(spoken, Speech):
        raise TypeError(f"{call.row.slug} ended with {type(spoken).__name__}")
    file = _file(call, spoken)
    yield {"type": "speech.audio.done", **file.about}
    yield Whole(file)


def _cut(content: bytes) -> Iterator[str]:
    """Sound as base64, in pieces that an event carries."""
    for start in range(0, len(content), _PIECE_BYTES):
        yield base64.b64encode(content[start : start + _PIECE_BYTES]).decode("ascii")


def _apart(_: Any, __: Any) -> None:
    """Events of sound are never joined into one: each is base64 of its own."""


def _file(call: Call, spoken: Speech) -> File:
    kind = FORMATS[spoken.format]
    read, made = spoken.text_tokens, spoken.sound_tokens
    usage = {"input_tokens": read, "output_tokens": made, "total_tokens": read + made}
    facts = {
        "format": spoken.format,
        "sample_rate": spoken.rate_hz,
        "duration": round(spoken.duration_s, 3),
        "voice": spoken.voice,
        "usage": usage,
    }
    about = _told(call, facts, [*spoken.left_out, *_large(call, spoken)])
    return File(spoken.content, kind.media_type, f"speech.{kind.suffix}", about)


def _large(call: Call, spoken: Speech) -> Iterator[LeftOut]:
    """A warning where the client leaves the form to us, and the sound is large for an answer."""
    limit_bytes, size_bytes = call.inline_limit_bytes, len(spoken.content) * 4 // 3
    if call.bucket is not None or limit_bytes is None or size_bytes <= limit_bytes:
        return
    if not call.carries_files and "response_format" not in call.request.model_fields_set:
        yield LeftOut(
            "response_format",
            f"The sound has {size_bytes / 1e6:.1f} MB as base64, and an answer without a bucket "
            f"should have at most {limit_bytes / 1e6:.1f}; ask for opus, or configure a bucket.",
        )


def _told(call: Call, facts: dict[str, Any], left_out: Sequence[LeftOut]) -> dict[str, Any]:
    return with_warnings(with_notice({**facts, "model": call.row.slug}, call.row), left_out)


def _to_engine(call: Call, *, streamed: bool) -> SpeakRequest:
    request: SpeechRequest = call.request
    raw = call.carries_files and request.stream_format != "sse"
    output = Output(
        format=request.response_format,
        rate_hz=request.sample_rate,
        streamed=streamed,
        limit_bytes=call.output_limit_bytes,
        as_base64=not raw,
    )
    return SpeakRequest(
        text=request.input,
        voice=request.voice_name,
        language=request.language,
        instructions=request.instructions,
        speed=request.speed,
        seed=request.fixed_seed,
        max_tokens=request.max_new_tokens,
        output=output,
        strict=request.strict,
    )


def _details(row: Row) -> dict[str, Any]:
    return {"languages": told_languages(row)}


SURFACE = Surface(
    name="speech",
    companions=frozenset({"input"}),
    texts=frozenset({"input", "text"}),
    generic=frozenset({"tts-1", "tts-1-hd", "gpt-4o-mini-tts"}),
    operations=(
        Operation(
            SpeechRequest,
            ("/v1/audio/speech",),
            answer,
            stream,
            marks=("voice", "ref_audio", "instruct"),
            rehearsal=lambda _: {"input": "Ready."},
        ),
    ),
    concurrency=2,
    details=_details,
)

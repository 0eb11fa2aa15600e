"""Music: ``POST /v1/audio/music``, an extension of ours.

A single song is a file: over HTTP it leaves as it is, behind the queue as an object with its
address or its base64. Several songs are a list of such objects at both doors.
"""

from __future__ import annotations

import base64
import random
import time
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from handler.contract.base import Call, Operation, Surface, run_told, with_notice
from handler.contract.music.request import MusicRequest
from handler.contract.together import together
from handler.contract.warnings import with_warnings
from handler.wire import File
from models.music.request import MusicRequest as EngineRequest
from models.music.request import Output, Song, Songs
from models.row import Row
from models.sound.formats import FORMATS

REFERENCE_LIMIT_BYTES = 10 * 1024 * 1024
SOURCE_LIMIT_BYTES = 128 * 1024 * 1024  # ten minutes of a wav


class SongData(TypedDict):
    """A song of several: a URL or base64, and its seed."""

    url: NotRequired[str]
    b64_json: NotRequired[str]
    seed: int


async def answer(call: Call) -> File | dict[str, Any]:
    """Make the songs of one request."""
    made = await run_told(call, await _to_engine(call))
    if not isinstance(made, Songs):
        raise TypeError(f"{call.row.slug} ended with {type(made).__name__}")
    facts = _facts(call, made)
    kind = FORMATS[made.format]
    if len(made.songs) == 1:
        [song] = made.songs
        about = {**facts, "seed": song.seed}
        return File(song.content, kind.media_type, f"song.{kind.suffix}", _told(call, made, about))
    data = await _all_data(call, made)
    return _told(call, made, {"created": int(time.time()), "data": data, **facts})


def _told(call: Call, made: Songs, facts: dict[str, Any]) -> dict[str, Any]:
    return with_warnings(with_notice({**facts, "model": call.row.slug}, call.row), made.left_out)


def _facts(call: Call, made: Songs) -> dict[str, Any]:
    read, sound = made.text_tokens, made.sound_tokens
    return {
        "format": made.format,
        "sample_rate": made.rate_hz,
        "duration": round(made.duration_s, 3),
        "task_type": made.task,
        "usage": {"input_tokens": read, "output_tokens": sound, "total_tokens": read + sound},
    }


async def _all_data(call: Call, made: Songs) -> list[SongData]:
    return await together(_data(call, made, index, song) for index, song in enumerate(made.songs))


async def _data(call: Call, made: Songs, index: int, song: Song) -> SongData:
    if call.bucket is None:
        return {"b64_json": base64.b64encode(song.content).decode("ascii"), "seed": song.seed}
    kind = FORMATS[made.format]
    place = f"{call.job_id}/song-{index}.{kind.suffix}"
    return {"url": await call.bucket.store(place, song.content, kind.media_type), "seed": song.seed}


async def _to_engine(call: Call) -> EngineRequest:
    """Build the engine's request; fetch the client's recordings.

    Raises:
        MediaError: a file cannot be had.
    """
    request: MusicRequest = call.request
    source, reference = request.source, None
    if request.reference_audio is not None and (source is None or source[1] == "src_audio"):
        reference = await _fetched(call, request.reference_audio, "reference_audio")
    covered = None if source is None else await _fetched(call, *source)
    return EngineRequest(
        caption=request.caption,
        lyrics=request.lyrics,
        seeds=request.seeds(random.getrandbits(32)),
        duration_s=request.duration,
        bpm=request.bpm,
        keyscale=request.keyscale,
        timesignature=request.timesignature,
        language=request.vocal_language,
        steps=request.inference_steps,
        guidance=request.guidance_scale,
        shift=request.shift,
        reference=reference,
        source=covered,
        source_param="src_audio" if source is None else source[1],
        cover_strength=request.audio_cover_strength,
        output=_output(call),
        strict=request.strict,
    )


async def _fetched(call: Call, given: str, param: str) -> Path:
    limit_bytes = SOURCE_LIMIT_BYTES if param == "src_audio" else REFERENCE_LIMIT_BYTES
    return await call.door.fetch(given, param, limit_bytes)


def _output(call: Call) -> Output:
    """Return the form of the songs: where the client leaves it open, one that fits its way."""
    request: MusicRequest = call.request
    as_it_is = call.carries_files and request.n == 1
    stored = call.bucket is not None and not as_it_is
    return Output(
        format=request.format or ("flac" if stored else "mp3"),
        is_chosen=request.format is not None,
        as_base64=not as_it_is and not stored,
        inline_limit_bytes=None if as_it_is or stored else call.inline_limit_bytes,
        limit_bytes=None if stored else call.output_limit_bytes,
    )


def _rehearsal(row: Row) -> dict[str, Any]:
    """The shortest song, in one step."""
    return {"caption": "a bell", "duration": 10, "inference_steps": 1, "seed": 1}


SURFACE = Surface(
    name="music",
    # Beside a caption these are a song's, whatever they mean to other surfaces.
    companions=frozenset({"lyrics", "prompt", "ref_audio"}),
    operations=(
        Operation(
            MusicRequest,
            ("/v1/audio/music",),
            answer,
            marks=("caption",),
            rehearsal=_rehearsal,
        ),
    ),
    concurrency=2,
)

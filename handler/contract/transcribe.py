"""Transcription: ``POST /v1/audio/transcriptions`` and ``/v1/audio/translations``.

The answer's shapes are OpenAI's: an object for ``json`` and ``verbose_json``, a plain string for
``text``, ``srt`` and ``vtt``. SubRip and WebVTT (W3C) times are ``HH:MM:SS,mmm`` and
``HH:MM:SS.mmm``.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, ClassVar, Literal, NotRequired, Self, TypedDict

from pydantic import Field, field_validator, model_validator

from handler.contract.base import (
    Call,
    Json,
    NonEmpty,
    Operation,
    Request,
    Surface,
    Text,
    with_notice,
)
from models.errors import InvalidValue
from models.transcribe import TranscribeRequest, Transcript

Granularity = Literal["word", "segment"]
AUDIO_LIMIT_BYTES = 1024 * 1024 * 1024


class TranscriptionRequest(Request):
    """The body of a transcription request."""

    unsupported: ClassVar = {
        "chunking_strategy": (),
        "file": (),
        "include": ([],),
        "keywords": ([],),
        "known_speaker_names": ([],),
        "known_speaker_references": ([],),
        "languages": ([],),
        "stream": (False,),
    }
    aliases: ClassVar = {"audio_url": "audioUrl"}
    files: ClassVar = {"file": "audioUrl"}

    audioUrl: NonEmpty
    language: Annotated[str, Field(min_length=2, max_length=35)] | None = None
    prompt: Text | None = None
    response_format: Literal["json", "text", "srt", "verbose_json", "vtt"] = "json"
    temperature: Annotated[float, Field(ge=0, le=1)] = 0.0
    timestamp_granularities: list[Granularity] = Field(default=["segment"])
    task: Literal["transcribe", "translate"] = "transcribe"
    vad_filter: bool = False
    hotwords: Text | None = None
    webhook_url: str | None = None

    @model_validator(mode="after")
    def _words_need_a_place(self) -> Self:
        if "word" in self.timestamp_granularities and self.response_format != "verbose_json":
            raise InvalidValue(
                "Timestamps of words are in verbose_json answers only.",
                param="timestamp_granularities",
            )
        return self

    @field_validator("language")
    @classmethod
    def _language_tag(cls, language: str) -> str:
        """BCP 47: Whisper knows the primary subtag, ``en`` of ``en-US``; or an English name."""
        if language.lower() in _CODES:
            return _CODES[language.lower()]
        primary = language.replace("_", "-").split("-")[0]
        if not (primary.isascii() and primary.isalpha()):
            raise ValueError("must be a language tag such as en or pt-BR")
        return primary.lower()


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
    path = await call.door.fetch(request.audioUrl, "audioUrl", AUDIO_LIMIT_BYTES)
    translate = (call.route or "").endswith("/translations")
    engine_request = TranscribeRequest(
        path=path,
        language=request.language,
        task="translate" if translate else request.task,
        prompt=request.prompt,
        temperature=request.temperature,
        words="word" in request.timestamp_granularities,
        vad=request.vad_filter,
        hotwords=request.hotwords,
    )
    async with call.lease() as model:
        transcript: Transcript = await model.run(engine_request)
    return _shape(transcript, call)


def _shape(transcript: Transcript, call: Call) -> Json:
    request: TranscriptionRequest = call.request
    text = "".join(segment["text"] for segment in transcript.segments).strip()
    usage = {"type": "duration", "seconds": math.ceil(transcript.duration_s)}
    if request.response_format == "text":
        return text
    if request.response_format == "srt":
        return srt(transcript.segments)
    if request.response_format == "vtt":
        return vtt(transcript.segments)
    if request.response_format == "json":
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
    if "word" in request.timestamp_granularities:
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


def srt(segments: list[dict[str, Any]]) -> str:
    """SubRip: numbered cues, a comma before the milliseconds."""
    cues = (
        f"{number}\n{clock(one['start'], ',')} --> {clock(one['end'], ',')}\n{_line(one)}\n\n"
        for number, one in enumerate(segments, start=1)
    )
    return "".join(cues)


def vtt(segments: list[dict[str, Any]]) -> str:
    """WebVTT: a header, then cues, a point before the milliseconds."""
    cues = (
        f"{clock(one['start'], '.')} --> {clock(one['end'], '.')}\n{_line(one)}\n\n"
        for one in segments
    )
    return "WEBVTT\n\n" + "".join(cues)


def clock(seconds: float, point: str) -> str:
    """``3661.5`` becomes ``01:01:01,500``."""
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}{point}{milliseconds % 1000:03d}"


def _line(segment: dict[str, Any]) -> str:
    """A cue's text: an arrow in it would read as a time line."""
    text: str = segment["text"]
    return text.strip().replace("-->", "->")


def language_name(code: str) -> str:
    """OpenAI answers with English names in lower case; an unnamed code stands for itself."""
    return _NAMES.get(code, code)


# ISO 639 codes that Whisper knows, by their English names.
_TABLE = """
af afrikaans  am amharic  ar arabic  as assamese  az azerbaijani  ba bashkir  be belarusian
bg bulgarian  bn bengali  bo tibetan  br breton  bs bosnian  ca catalan  cs czech  cy welsh
da danish  de german  el greek  en english  es spanish  et estonian  eu basque  fa persian
fi finnish  fo faroese  fr french  gl galician  gu gujarati  ha hausa  haw hawaiian  he hebrew
hi hindi  hr croatian  ht haitian  hu hungarian  hy armenian  id indonesian  is icelandic
it italian  ja japanese  jw javanese  ka georgian  kk kazakh  km khmer  kn kannada  ko korean
la latin  lb luxembourgish  ln lingala  lo lao  lt lithuanian  lv latvian  mg malagasy  mi maori
mk macedonian  ml malayalam  mn mongolian  mr marathi  ms malay  mt maltese  my myanmar
ne nepali  nl dutch  nn nynorsk  no norwegian  oc occitan  pa punjabi  pl polish  ps pashto
pt portuguese  ro romanian  ru russian  sa sanskrit  sd sindhi  si sinhala  sk slovak
sl slovenian  sn shona  so somali  sq albanian  sr serbian  su sundanese  sv swedish  sw swahili
ta tamil  te telugu  tg tajik  th thai  tk turkmen  tl tagalog  tr turkish  tt tatar
uk ukrainian  ur urdu  uz uzbek  vi vietnamese  yi yiddish  yo yoruba  yue cantonese  zh chinese
"""
_WORDS = _TABLE.split()
_NAMES = dict(zip(_WORDS[::2], _WORDS[1::2], strict=True))
_CODES = {name: code for code, name in _NAMES.items()}
_ROUTES = ("/v1/audio/transcriptions", "/v1/audio/translations")

SURFACE = Surface(
    name="transcribe",
    companions=frozenset({"prompt", "documents"}),
    operations=(Operation(TranscriptionRequest, _ROUTES, answer, marks=("audioUrl", "audio_url")),),
    concurrency=4,
)

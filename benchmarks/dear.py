"""What one small request may cost: the dearest of each surface, against a worker of a small model.

    .venv/bin/python -m benchmarks.dear [SURFACE …]

A request is small if it has at most a megabyte. Each has a limit of its own, which the table names;
all are bounded by ``JOB_TIMEOUT_S`` besides, which is a minute here.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.fairness import recording

_JOB_TIMEOUT_S = 60
_SAID = [{"role": "user", "content": "Count."}]


@dataclass(frozen=True)
class Dear:
    """A request.

    Attributes:
        what: is dear about it.
        route: of its operation.
        body: makes it.
        bound: what bounds its cost.
    """

    what: str
    route: str
    body: Callable[[], dict[str, Any]]
    bound: str


def _chat() -> list[Dear]:
    route = "/v1/chat/completions"
    schema = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(1999)}}
    formed = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    long = {"messages": _SAID, "max_tokens": 2000, "ignore_eos": True, "n": 8}
    words = [{"role": "user", "content": "a " * 8000}]
    return [
        Dear("eight answers of 2,000 tokens", route, lambda: long,
             "the context (`CHAT_CONTEXT_TOKENS`), `JOB_TIMEOUT_S`"),
        Dear("a conversation of 8,000 tokens", route,
             lambda: {"messages": words, "max_tokens": 1},
             "the context (`CHAT_CONTEXT_TOKENS`)"),
        Dear("a schema of 1,999 properties", route,
             lambda: {"messages": _SAID, "max_tokens": 1, "response_format": formed},
             "2,000 properties, a second of processor time"),
    ]  # fmt: skip


def _ocr() -> list[Dear]:
    return [
        Dear("a PDF of 100 pages", "/v1/ocr", lambda: {"image": _pdf(100)},
             "`CHAT_PDF_PAGES`, `CHAT_PDF_PAGE_PIXELS`, 30 s a page, `JOB_TIMEOUT_S`"),
        Dear("a white picture of 64 megapixels", "/v1/ocr", lambda: {"image": _white(8000)},
             "`CHAT_IMAGE_PIXELS`"),
        Dear("a picture full of lines of text", "/v1/ocr", lambda: {"image": _printed()},
             "`CHAT_IMAGE_PIXELS`, `JOB_TIMEOUT_S`"),
    ]  # fmt: skip


def _images() -> list[Dear]:
    route = "/v1/images/generations"
    many = {"prompt": "A fox", "steps": 100, "n": 8, "size": "1024x1024"}
    return [
        Dear("eight pictures of 100 steps", route, lambda: many, "8 pictures, `JOB_TIMEOUT_S`"),
        Dear("a picture of 64 megapixels to start from", "/v1/images/edits",
             lambda: {"prompt": "A fox", "image": _white(8000), "size": "64x64", "steps": 1},
             "64 megapixels"),
        Dear("a JPEG of 500 scans", "/v1/images/edits",
             lambda: {"prompt": "A fox", "image": _scans(), "size": "64x64", "steps": 1},
             "1.3 billion pixels in all scans: refused"),
    ]  # fmt: skip


def _transcribe() -> list[Dear]:
    route = "/v1/audio/transcriptions"
    tried = {"temperature": [n / 10 for n in range(10)], "beam_size": 10}
    return [
        Dear("a minute of noise, tried at ten temperatures", route,
             lambda: {"audioUrl": _noise(20), **tried}, "10 temperatures, `JOB_TIMEOUT_S`"),
        Dear("six hours of silence in FLAC", route, lambda: {"audioUrl": _silence(6)},
             "a second for each 100 bytes, 12 hours, 180 s to decode"),
        Dear("half a minute of speech, with words", route,
             lambda: {"audioUrl": recording(0.45), "word_timestamps": True, **tried},
             "10 temperatures, `JOB_TIMEOUT_S`"),
    ]  # fmt: skip


def _speech() -> list[Dear]:
    route = "/v1/audio/speech"
    return [
        Dear("4,000 characters, slowly", route,
             lambda: {"input": "The quick brown fox. " * 190, "speed": 0.25},
             "4,096 characters (`SPEECH_CHARACTERS`), `JOB_TIMEOUT_S`"),
        Dear("digits, spoken as words", route, lambda: {"input": "987654321987 " * 310},
             "4,096 characters (`SPEECH_CHARACTERS`), `JOB_TIMEOUT_S`"),
        Dear("a sentence without an end", route, lambda: {"input": "fox " * 1000},
             "4,096 characters (`SPEECH_CHARACTERS`), `JOB_TIMEOUT_S`"),
    ]  # fmt: skip


def _music() -> list[Dear]:
    route, song = "/v1/audio/music", {"caption": "A song", "audio_format": "mp3"}
    return [
        Dear("four songs of ten minutes and 20 steps", route,
             lambda: {**song, "duration": 600, "inference_steps": 20, "n": 4},
             "4 songs, 10 minutes, 20 steps, `JOB_TIMEOUT_S`"),
        Dear("ten minutes of a recording to follow", route,
             lambda: {**song, "src_audio": _silence(0.1), "duration": 600, "inference_steps": 1},
             "10 minutes, 60 s to decode"),
        Dear("4,000 characters of lyrics", route,
             lambda: {**song, "lyrics": "la " * 1300, "duration": 10, "inference_steps": 20},
             "the model's tokens of lyrics"),
    ]  # fmt: skip


def _embeddings() -> list[Dear]:
    text = "The quick brown fox jumps. " * 18
    return [
        Dear("2,048 texts of 480 characters", "/v1/embeddings",
             lambda: {"input": [f"{n} {text}" for n in range(2048)]},
             "2,048 texts, `JOB_TIMEOUT_S`"),
        Dear("a text of a million characters", "/v1/embeddings",
             lambda: {"input": "a " * 500_000}, "the model's tokens, by which texts are cut"),
        Dear("1,000 documents to rank", "/v1/rerank",
             lambda: {"query": "A fox", "documents": [f"{n} {text}" for n in range(1000)]},
             "2,048 documents, `JOB_TIMEOUT_S`"),
    ]  # fmt: skip


CASES: dict[str, tuple[str, str, Callable[[], list[Dear]]]] = {
    "chat": ("chat", "SmolLM2_135M_Instruct", _chat),
    "ocr": ("chat", "PP_OCRv6_Small", _ocr),
    "images": ("images", "Tiny_Flux", _images),
    "transcribe": ("transcribe", "Whisper_Base", _transcribe),
    "speech": ("speech", "Hibari_Heart", _speech),
    "music": ("music", "Tiny_AceStep", _music),
    "embeddings": ("embeddings", "All_MiniLM_L6_v2", _embeddings),
}


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"

"""The requests of ``benchmarks.dear``, and the files in them."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.fairness import recording

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
             lambda: {"prompt": "A fox", "image": _white(8000), "size": "64x64", "steps": 1,
                      "strength": 1},
             "64 megapixels"),
        Dear("a JPEG of 500 scans", "/v1/images/edits",
             lambda: {"prompt": "A fox", "image": _scans(), "size": "64x64", "steps": 1},
             "1.3 billion pixels in all scans: refused"),
    ]  # fmt: skip


def _transcribe() -> list[Dear]:
    route = "/v1/audio/transcriptions"
    tried = {"temperature": [n / 10 for n in range(10)], "beam_size": 10}
    return [
        Dear("twenty seconds of noise, tried at ten temperatures", route,
             lambda: {"audioUrl": _noise(20), **tried}, "10 temperatures, `JOB_TIMEOUT_S`"),
        Dear("an hour of silence in FLAC", route, lambda: {"audioUrl": _silence(1)},
             "a second for each 100 bytes, 12 hours, 180 s to decode"),
        Dear("twenty seconds of speech, with words", route,
             lambda: {"audioUrl": recording(0.35), "word_timestamps": True, **tried},
             "10 temperatures, `JOB_TIMEOUT_S`"),
    ]  # fmt: skip


def _speech() -> list[Dear]:
    route = "/v1/audio/speech"
    return [
        Dear("4,000 characters, slowly", route,
             lambda: {"input": "The quick brown fox. " * 190, "speed": 0.25},
             "4,096 characters (`SPEECH_MAX_CHARACTERS`), `JOB_TIMEOUT_S`"),
        Dear("digits, spoken as words", route,
             lambda: {"input": "987654321987 " * 100, "response_format": "mp3"},
             "4,096 characters (`SPEECH_MAX_CHARACTERS`), `JOB_TIMEOUT_S`"),
        Dear("a sentence without an end", route, lambda: {"input": "fox " * 1000},
             "4,096 characters (`SPEECH_MAX_CHARACTERS`), `JOB_TIMEOUT_S`"),
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


def _picture(picture: Any, kind: str, **options: Any) -> bytes:
    with io.BytesIO() as file:
        picture.save(file, kind, **options)
        return file.getvalue()


def _white(side: int) -> str:
    from PIL import Image

    return _data("image/png", _picture(Image.new("L", (side, side), 255), "PNG"))


def _printed() -> str:
    from PIL import Image, ImageDraw

    page = Image.new("L", (2000, 2800), 255)
    draw = ImageDraw.Draw(page)
    for line in range(180):
        draw.text((10, 15 * line), f"{line} The quick brown fox jumps over the lazy dog. " * 6, 0)
    return _data("image/png", _picture(page, "PNG"))


def _scans() -> str:
    from PIL import Image

    whole = _picture(Image.new("L", (8000, 8000)), "JPEG", progressive=True, quality=10)
    last = whole.rindex(b"\xff\xda")
    return _data("image/jpeg", whole[:last] + whole[last:-2] * 499 + whole[-2:])


def _pdf(pages: int) -> str:
    from PIL import Image

    page = Image.new("1", (1240, 1754), 1)
    content = _picture(page, "PDF", save_all=True, append_images=[page] * (pages - 1))
    return _data("application/pdf", content)


def _noise(seconds: int) -> str:
    samples = np.random.default_rng(1).normal(0, 3000, 16_000 * seconds).astype(np.int16)
    return _data("audio/flac", _flac([samples], 16_000))


def _silence(hours: float) -> str:
    minute = np.zeros(8_000 * 60, np.int16)
    return _data("audio/flac", _flac([minute] * round(60 * hours), 8_000))


def _flac(parts: list[Any], rate: int) -> bytes:
    import av

    with io.BytesIO() as file:
        with av.open(file, "w", format="flac") as container:
            stream = container.add_stream("flac", rate=rate, layout="mono")
            for samples in parts:
                frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
                frame.sample_rate = rate
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return file.getvalue()

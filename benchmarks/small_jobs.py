"""The small jobs of ``benchmarks.soak``: as little work for a model as a job can be."""

from __future__ import annotations

import base64
import io
from typing import Any

from benchmarks.fairness import recording

_CLIP_S = 0.5
_CAPTION = "A song of the sea. " * 50  # so long that the cache of prompts reaches its bound


def small_jobs() -> dict[str, tuple[str, str, dict[str, Any]]]:
    """Return for each kind of jobs the model, the route and the body."""
    return {
        "embeddings": ("All_MiniLM_L6_v2", "/v1/embeddings", {"input": "A fox"}),
        "chat": (
            "SmolLM2_135M_Instruct", "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "Count."}], "max_tokens": 1},
        ),
        "images": (
            "Tiny_Flux", "/v1/images/generations",
            {"prompt": "A fox", "size": "64x64", "steps": 1, "response_format": "b64_json"},
        ),
        "transcribe": (
            "Tiny_Whisper", "/v1/audio/transcriptions",
            {"audioUrl": recording(_CLIP_S / 60), "language": "en", "temperature": [0.0],
             "beam_size": 1},
        ),
        "speech": ("Hibari_Heart", "/v1/audio/speech", {"input": "Yes"}),
        "music": (
            "Tiny_AceStep", "/v1/audio/music",
            {"caption": _CAPTION, "duration": 10, "inference_steps": 1, "audio_format": "wav"},
        ),
        "ocr": ("PP_OCRv6_Small", "/v1/ocr", {"image": _page()}),
    }  # fmt: skip


def varied(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a body of its own for each job, so that no cache answers."""
    for name in ("input", "prompt", "caption"):
        if name in body:
            return {**body, name: f"{body[name]} {number}"}
    if "messages" in body:
        return {**body, "messages": [{"role": "user", "content": f"Count {number}."}]}
    return body


def _page() -> str:
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (96, 32), "white")
    ImageDraw.Draw(page).text((6, 8), "Hello", fill="black")
    with io.BytesIO() as file:
        page.save(file, "PNG")
        return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()

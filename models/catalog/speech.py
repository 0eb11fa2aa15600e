"""Models of speech."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, GPU
from models.row import Row

_HEART = {"slug": "heart", "name": "Heart", "gender": "female", "names": ["af_heart"]}

ROWS = (
    Row(
        slug="Hibari_Heart",
        surface="speech",
        tasks=frozenset({"txt2audio"}),
        weights="pypi://hibari-tts==0.2.1#hibari/assets"
        "?sha256=49f2abbbe451c988e7448b5afa08c8a56410535ebb855c0e7d174275df5ca1f3",
        engine="models.speech.hibari:HibariSpeaker",
        memory_bytes=GB // 2,
        licence="Apache-2.0",
        names=("maureesewilliams/hibari", "hibari"),
        options={
            "file": "hibari.onnx",
            "languages": [
                {"slug": "en-us", "name": "English", "names": ["en"], "voices": [_HEART]},
            ],
        },
        timeout_s=240.0,
        default_on=CPU | GPU,
    ),
)

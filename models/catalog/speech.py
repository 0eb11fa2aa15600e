"""Models of speech."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, GPU
from models.row import Row

_HEART = {"slug": "heart", "name": "Heart", "gender": "female", "names": ["af_heart"]}
# Kokoro's English voices, as its repository calls them: accent, gender, name.
_KOKORO = (
    "af_heart", "af_alloy", "af_aoede", "af_bella", "af_jessica", "af_kore", "af_nicole", "af_nova",
    "af_river", "af_sarah", "af_sky", "am_adam", "am_echo", "am_eric", "am_fenrir", "am_liam",
    "am_michael", "am_onyx", "am_puck", "am_santa", "bf_alice", "bf_emma", "bf_isabella", "bf_lily",
    "bm_daniel", "bm_fable", "bm_george", "bm_lewis",
)  # fmt: skip

# Qwen3-TTS's voices with their mother tongues; each speaks every language.
_QWEN = (
    ("Ryan", "male", "en"), ("Aiden", "male", "en"), ("Vivian", "female", "zh"),
    ("Serena", "female", "zh"), ("Uncle_Fu", "male", "zh"), ("Dylan", "male", "zh"),
    ("Eric", "male", "zh"), ("Ono_Anna", "female", "ja"), ("Sohee", "female", "ko"),
)  # fmt: skip
_QWEN_LANGUAGES = (
    ("auto", "Auto", ()),  # as the text has it
    ("en", "English", ("en-us", "en-gb", "en-au", "en-in")),
    ("zh", "Chinese", ("zh-cn", "zh-hans", "cmn", "mandarin")),
    ("ja", "Japanese", ("ja-jp",)),
    ("ko", "Korean", ("ko-kr",)),
    ("de", "German", ("de-de",)),
    ("fr", "French", ("fr-fr",)),
    ("ru", "Russian", ("ru-ru",)),
    ("pt", "Portuguese", ("pt-pt", "pt-br")),
    ("es", "Spanish", ("es-es", "es-mx")),
    ("it", "Italian", ("it-it",)),
)


def _speaking(language: str) -> list[dict[str, str]]:
    """Qwen3-TTS's voices, those first whose mother tongue it is."""
    return [
        {"slug": slug, "name": slug.replace("_", " "), "gender": gender}
        for slug, gender, own in sorted(_QWEN, key=lambda voice: voice[2] != language)
    ]


def _voices(accent: str) -> list[dict[str, str]]:
    """Kokoro's voices of an accent."""
    genders = {"f": "female", "m": "male"}
    return [
        {"slug": slug, "name": slug[3:].title(), "gender": genders[slug[1]]}
        for slug in _KOKORO
        if slug.startswith(accent)
    ]


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
    Row(
        slug="Kokoro_82M",
        surface="speech",
        tasks=frozenset({"txt2audio"}),
        weights="hf://onnx-community/Kokoro-82M-v1.0-ONNX@1939ad2a8e416c0acfeecc08a694d14ef25f2231",
        engine="models.speech.kokoro:KokoroSpeaker",
        memory_bytes=GB,
        weights_bytes=int(0.11 * GB),
        licence="Apache-2.0",
        names=("hexgrad/Kokoro-82M", "kokoro"),
        files=("onnx/model_quantized.onnx", "voices/[ab][fm]_*.bin"),
        options={
            "file": "onnx/model_quantized.onnx",
            "voices": "voices",
            "languages": [
                {
                    "slug": "en-us",
                    "name": "American English",
                    "names": ["en", "english"],
                    "voices": _voices("a"),
                },
                {
                    "slug": "en-gb",
                    "name": "British English",
                    "names": [],
                    "voices": _voices("b"),
                },
            ],
        },
        timeout_s=240.0,
    ),
    Row(
        slug="Qwen3_TTS_12Hz_1_7B_CustomVoice",
        surface="speech",
        tasks=frozenset({"txt2audio"}),
        weights="hf://Qwen/Qwen3-TTS-12Hz-1.7B-CustomVoice"
        "@0c0e3051f131929182e2c023b9537f8b1c68adfe",
        engine="models.speech.qwen.engine:QwenSpeaker",
        memory_bytes=6 * GB,
        weights_bytes=int(4.6 * GB),
        licence="Apache-2.0",
        names=("qwen3-tts",),
        files=("*.json", "*.txt", "model.safetensors", "speech_tokenizer/*"),
        options={
            "languages": [
                {"slug": slug, "name": name, "names": list(names), "voices": _speaking(slug)}
                for slug, name, names in _QWEN_LANGUAGES
            ],
        },
        timeout_s=240.0,
    ),
)

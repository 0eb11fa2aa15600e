"""Fields of other APIs of speech: the gateway's sister API's, vLLM-Omni's, Kokoro-FastAPI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.contract.translation import Translate
from handler.contract.unsupported import Unsupported, alike
from models.errors import UnsupportedParameter

ALIASES = {
    "text": "input",
    "lang": "language",
    "format": "response_format",
    "instruct": "instructions",
}
_CLONING = "voices are not cloned here; send a voice that the model has"
UNSUPPORTED: dict[str, Unsupported] = {
    **alike(("ref_audio", "ref_text", "reference_audio"), _CLONING),
    "x_vector_only_mode": Unsupported(False, instead=_CLONING),
    "volume_multiplier": Unsupported(1),
    "return_download_link": Unsupported(False, instead="behind the queue a bucket gives a link"),
    "return_timestamps": Unsupported(False),
}

_MODES = {
    "mode": ("custom_voice", "voice_clone", "voice_design"),
    "task_type": ("CustomVoice", "Base", "VoiceDesign"),
}
# Kokoro's letters for the languages that it speaks.
_LETTERS = {
    "a": "en-us", "b": "en-gb", "e": "es", "f": "fr-fr", "h": "hi", "i": "it", "j": "ja",
    "p": "pt-br", "z": "zh",
}  # fmt: skip


def _mode(name: str, value: Any) -> dict[str, Any]:
    """The one mode that there is says nothing; the others are of other models."""
    usual, cloning, _ = _MODES[name]
    if value == usual:
        return {}
    if value == cloning:
        raise UnsupportedParameter(f"{name} {value}: {_CLONING}.", param=name)
    raise UnsupportedParameter(
        f"{name} may be {usual} here: voices are not made of a description; send one that the "
        "model has.",
        param=name,
    )


def _letter(name: str, value: Any) -> dict[str, Any]:
    return {"language": _LETTERS.get(value, value) if isinstance(value, str) else value}


TABLE: Mapping[str, Translate] = {"mode": _mode, "task_type": _mode, "lang_code": _letter}

"""Fields of other APIs of transcription: RunPod's own worker's, faster-whisper's, speaches'.

A field is one of ours by another name, is put into our words, or is refused by name, unless it has
the value that the engine uses anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.contract.translation import Translate
from handler.contract.unsupported import Unsupported, alike
from models.errors import UnsupportedParameter

ALIASES = {"initial_prompt": "prompt", "enable_vad": "vad_filter"}

UNSUPPORTED: dict[str, Unsupported] = {
    "append_punctuations": Unsupported(),
    "best_of": Unsupported(5),
    "chunk_length": Unsupported(30),
    "clip_timestamps": Unsupported("0", [0], [0.0], instead="send the part to write down alone"),
    "compression_ratio_threshold": Unsupported(2.4),
    "language_detection_segments": Unsupported(1),
    "language_detection_threshold": Unsupported(0.5),
    "length_penalty": Unsupported(1, 0),
    "max_initial_timestamp": Unsupported(1),
    "max_new_tokens": Unsupported(),
    "multilingual": Unsupported(False),
    "no_repeat_ngram_size": Unsupported(0),
    "no_speech_threshold": Unsupported(0.6),
    "patience": Unsupported(1),
    "prefix": Unsupported(),
    "prepend_punctuations": Unsupported(),
    "prompt_reset_on_temperature": Unsupported(0.5),
    "repetition_penalty": Unsupported(1),
    "suppress_blank": Unsupported(True),
    "suppress_tokens": Unsupported("-1", [-1]),
    "translation": Unsupported("plain_text", instead="send translate and transcription"),
    "without_timestamps": Unsupported(False, instead="send response_format json or text"),
    **alike(("log_prob_threshold", "logprob_threshold"), "leave it out or send -1", -1),
}

_FORMATS = {"plain_text": "json", "plain text": "json", "srt": "srt", "vtt": "vtt"}


def _format(name: str, value: Any) -> dict[str, Any]:
    """RunPod's worker's form of the text, which is ``response_format`` here."""
    if not isinstance(value, str) or value not in _FORMATS:
        raise UnsupportedParameter(
            f"{name} may be plain_text, srt or vtt here; for lines with their times send "
            "response_format verbose_json.",
            param=name,
        )
    return {"response_format": _FORMATS[value]}


TABLE: Mapping[str, Translate] = {"transcription": _format}

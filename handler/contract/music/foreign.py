"""Fields of other APIs of music: ACE-Step's own, OpenAI's of sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handler.contract.translation import Translate
from handler.contract.unsupported import Unsupported, alike
from models.errors import InvalidValue

INSTRUMENTAL = "[Instrumental]"
_FILES = "send the file itself, as a URL, a data URI, base64 or in a form"
_PLANNING = "the planner that writes metadata and lyrics is not here; send bpm, keyscale and lyrics"
_REGIONS = "songs are made of a text or cover a source; parts of one are not changed here"

ALIASES = {
    "prompt": "caption",
    "audio_duration": "duration",
    "key_scale": "keyscale",
    "time_signature": "timesignature",
    "audio_format": "format",
    "response_format": "format",
    "num_inference_steps": "inference_steps",
    "steps": "inference_steps",
    "guidance": "guidance_scale",
    "language": "vocal_language",
    "batch_size": "n",
    "ref_audio": "reference_audio",
}
UNSUPPORTED: dict[str, Unsupported] = {
    **alike(("reference_audio_path", "src_audio_path"), _FILES),
    **alike(("thinking", "sample_mode", "use_format", "full_analysis_only"), _PLANNING, False),
    **alike(("sample_query", "audio_code_string", "audio_codes"), _PLANNING),
    **alike(("repainting_start", "repainting_end"), _REGIONS, 0, -1),
    **alike(("track_name", "track_classes", "complete_track_classes"), _REGIONS),
    "negative_prompt": Unsupported(instead="the model has none; say in caption what you want"),
    "sample_rate": Unsupported(48_000),
    "stream": Unsupported(
        False, instead="a song is answered whole; the status of a job shows its steps"
    ),
    "infer_method": Unsupported("ode"),
}


def _instrumental(name: str, value: Any) -> dict[str, Any]:
    """A switch for songs without a voice."""
    if not isinstance(value, bool):
        raise InvalidValue(f"{name} must be true or false.", param=name, code="invalid_type")
    return {"lyrics": INSTRUMENTAL} if value else {}


def _random(name: str, value: Any) -> dict[str, Any]:
    """A switch for a seed of ours."""
    if not isinstance(value, bool):
        raise InvalidValue(f"{name} must be true or false.", param=name, code="invalid_type")
    return {"seed": -1} if value else {}


TABLE: Mapping[str, Translate] = {"instrumental": _instrumental, "use_random_seed": _random}

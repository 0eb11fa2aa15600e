"""Models of music."""

from __future__ import annotations

from typing import Any

from models.catalog.parts import CPU, GB, GPU, STAND_IN
from models.row import Row

_MAIN = "hf://ACE-Step/Ace-Step1.5@19671f406d603126926c1b7e2adc169acbcade22"
MUSIC = frozenset({"txt2music"})
_DEFAULTS: dict[str, Any] = {
    "duration": 60,
    "inference_steps": 8,
    "shift": 3.0,
    "lyrics": "[Instrumental]",
    "vocal_language": "en",
}

ROWS = (
    Row(
        slug="AceStep_1_5_Turbo",
        surface="music",
        tasks=MUSIC,
        # The gateway's artifact is the DiT; the other parts are ACE-Step's main repository's.
        weights="hf://ACE-Step/acestep-v15-turbo-continuous@f8e893768347fd42f5988e07d1d80675fc3e5718"
        f" + {_MAIN}#vae/* + {_MAIN}#Qwen3-Embedding-0.6B/*",
        engine="models.music.engine:AceStepMusic",
        memory_bytes=11 * GB,  # 4.8 of DiT, 1.2 of text encoder, 0.2 of VAE, 3 of a tile, 1 of song
        weights_bytes=int(6.4 * GB),
        licence="MIT",
        files=("config.json", "model.safetensors", "silence_latent.pt"),
        options={"distilled": True, "text_tokens": 256, "lyric_tokens": 2048},
        defaults=_DEFAULTS,
        timeout_s=300.0,
        default_on=GPU,
        stand_in="Tiny_AceStep",
    ),
    Row(
        slug="Tiny_AceStep",
        surface="music",
        tasks=MUSIC,
        weights="tiny://acestep",
        engine="models.music.engine:AceStepMusic",
        memory_bytes=GB,
        licence="Apache-2.0",
        options={"distilled": True, "text_tokens": 2048, "lyric_tokens": 4096},
        defaults={**_DEFAULTS, "duration": 10},
        timeout_s=300.0,
        default_on=CPU,
        notice=STAND_IN.format("Tiny_AceStep", "AceStep_1_5_Turbo"),
    ),
)

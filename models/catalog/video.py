"""Models of video."""

from __future__ import annotations

from models.catalog.parts import GB, STAND_IN
from models.row import Row

_LTX = (
    "ltx2-3-22b-dist-int8@04676ace2a25544f56a8f59eccde925bc7ed8177"
    "#ltx-2.3-22b-distilled_qint8.safetensors"
    " + hf://diffusers/LTX-2.3-Distilled-Diffusers@432e0d3c2d1769aaa4d295f9243f7062bf6b47ee"
)
VIDEOS = frozenset({"txt2video", "img2video"})

ROWS = (
    Row(
        slug="Ltx2_3_22B_Dist_INT8",
        surface="images",
        tasks=VIDEOS,
        # The transformer is the gateway's artifact; the other parts are plain.
        weights=f"hf://dryAPI-ai/{_LTX}",
        mirrors=(f"hf://deAPI-ai/{_LTX}",),
        engine="models.images.video.engine:LtxVideo",
        memory_bytes=72 * GB,  # 22 of int8, 24 of text encoder, 13 of connectors
        weights_bytes=int(61.5 * GB),
        licence="LTX-2 Community License, and Gemma Terms of Use for its text encoder",
        files=(
            "model_index.json",
            "*/*.json",
            "tokenizer/*",
            *(
                f"{part}/*.safetensors"
                for part in ("audio_vae", "connectors", "text_encoder", "vae", "vocoder")
            ),
        ),
        options={
            "prompt_tokens": 1024,
            "most_pixels": 1280 * 736 * 257,
            "offloaded_bytes": 36 * GB,
        },
        defaults={"size": "768x512", "frames": 97, "fps": 24.0},
        timeout_s=600.0,
    ),
    Row(
        slug="Tiny_Ltx2",
        surface="images",
        tasks=VIDEOS,
        weights="tiny://ltx2",
        engine="models.images.video.engine:LtxVideo",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"prompt_tokens": 1024, "most_pixels": 128 * 128 * 97},
        defaults={"size": "96x64", "frames": 17, "fps": 24.0},
        timeout_s=600.0,
        notice=STAND_IN.format("Tiny_Ltx2", "Ltx2_3_22B_Dist_INT8"),
    ),
)

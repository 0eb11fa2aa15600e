"""Models that make pictures and videos."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, GPU, STAND_IN
from models.row import Row

DIFFUSERS_FILES = ("*.json", "*.txt", "*.model", "*/*.json", "*/*.jinja", "*/*.safetensors")
_LTX = (
    "ltx2-3-22b-dist-int8@04676ace2a25544f56a8f59eccde925bc7ed8177"
    "#ltx-2.3-22b-distilled_qint8.safetensors"
    " + hf://diffusers/LTX-2.3-Distilled-Diffusers@432e0d3c2d1769aaa4d295f9243f7062bf6b47ee"
)
PAINTS = frozenset({"txt2img", "img2img", "inpaint"})
VIDEOS = frozenset({"txt2video", "img2video"})
MEGAPIXEL = 1024 * 1024

ROWS = (
    Row(
        slug="Flux1schnell",
        surface="images",
        tasks=PAINTS,
        weights="hf://black-forest-labs/FLUX.1-schnell@741f7c3ce8b383c54771c7003378a50191e9efe9",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=38 * GB,
        weights_bytes=int(33.8 * GB),
        licence="Apache-2.0",
        gated=True,
        files=DIFFUSERS_FILES,
        options={
            "family": "flux",
            "prompt_tokens": 256,
            "most_pixels": 4 * MEGAPIXEL,
            "offloaded_bytes": 28 * GB,
            "denoiser_bytes": int(23.8 * GB),
            "encoder_bytes": int(9.5 * GB),
        },
        defaults={"size": "1024x1024", "steps": 4, "guidance": 0.0},
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        slug="Flux_2_Klein_4B_BF16",
        surface="images",
        tasks=PAINTS,
        weights="hf://black-forest-labs/FLUX.2-klein-4B@e7b7dc27f91deacad38e78976d1f2b499d76a294",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=19 * GB,
        weights_bytes=int(16.0 * GB),
        licence="Apache-2.0",
        files=DIFFUSERS_FILES,
        options={
            "family": "flux2-klein",
            "prompt_tokens": 512,
            "most_pixels": 4 * MEGAPIXEL,
            "offloaded_bytes": 12 * GB,
            "denoiser_bytes": int(7.8 * GB),
            "encoder_bytes": int(8.0 * GB),
        },
        defaults={"size": "1024x1024", "steps": 4, "guidance": 1.0},
        timeout_s=120.0,
    ),
    Row(
        slug="ZImageTurbo_INT8",
        surface="images",
        tasks=PAINTS,
        weights="hf://Disty0/Z-Image-Turbo-SDNQ-int8@43d0947f91c14b93da75704be27565ee30694f21",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=18 * GB,
        weights_bytes=int(15.0 * GB),
        licence="Apache-2.0",
        files=DIFFUSERS_FILES,
        options={
            "family": "z-image",
            "prompt_tokens": 512,
            "most_pixels": 4 * MEGAPIXEL,
            "offloaded_bytes": 11 * GB,
        },
        defaults={"size": "1024x1024", "steps": 8, "guidance": 0.0},
        timeout_s=180.0,
    ),
    Row(
        slug="SDXL",
        surface="images",
        tasks=PAINTS,
        weights="hf://stabilityai/stable-diffusion-xl-base-1.0"
        "@462165984030d82259a11f4367a4eed129e94a7b",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=14 * GB,
        weights_bytes=int(7.0 * GB),
        licence="CreativeML Open RAIL++-M",
        files=(
            "*.json",
            "*/*.json",
            "*/*.txt",
            "*/model.fp16.safetensors",
            "*/diffusion_pytorch_model.fp16.safetensors",
        ),
        # Two encoders that read 77 tokens each.
        options={
            "family": "sdxl",
            "prompt_tokens": 77,
            "most_pixels": 2 * MEGAPIXEL,
            "offloaded_bytes": 9 * GB,
            "denoiser_bytes": int(5.1 * GB),
            "encoder_bytes": int(1.4 * GB),
        },
        defaults={"size": "1024x1024", "steps": 30, "guidance": 5.0},
        timeout_s=120.0,
    ),
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
    Row(
        slug="Tiny_Flux",
        surface="images",
        tasks=PAINTS,
        weights="tiny://flux",
        engine="models.images.diffusion.engine:DiffusersImages",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        options={"family": "flux", "prompt_tokens": 256, "most_pixels": 4 * MEGAPIXEL},
        defaults={"size": "128x128", "steps": 4, "guidance": 0.0},
        timeout_s=120.0,
        default_on=CPU,
        notice=STAND_IN.format("Tiny_Flux", "Flux1schnell or Flux_2_Klein_4B_BF16"),
    ),
)

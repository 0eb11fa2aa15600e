"""Fields of an images request under the names of other servers, and those that change nothing.

Names are of OpenAI and xAI, of this gateway and its sister API, of diffusers, of Automatic1111's
and ComfyUI's workers, of Real-ESRGAN's command line, of Replicate, fal and Black Forest Labs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from handler.contract.unsupported import Unsupported, alike

IMAGE_NAMES = (
    "image_url", "image_urls", "images", "input_image", "init_image", "init_images",
)  # fmt: skip

ALIASES: Mapping[str, str] = {
    "num_inference_steps": "steps",
    "guidance_scale": "guidance",
    "cfg_scale": "guidance",
    "num_images": "n",
    "num_images_per_prompt": "n",
    "num_outputs": "n",
    "mask_image": "mask",
    "denoise": "strength",
    "denoising_strength": "strength",
    "prompt_strength": "strength",
    "sampler": "scheduler",
    "sampler_name": "scheduler",
    "outscale": "scale",
    "image_size": "size",
    "num_frames": "frames",
    "duration": "seconds",
    "first_frame_image": "image",
    "last_frame_image": "last_image",
    **dict.fromkeys(IMAGE_NAMES, "image"),
}

# The fields that are pictures, or lists of them, under all their names.
PICTURES = (
    *("image", "mask", "last_image"),
    *(alias for alias, name in ALIASES.items() if name in ("image", "mask", "last_image")),
)

# What would be another picture: refused.
UNSUPPORTED: Mapping[str, Unsupported] = {
    "complexity": Unsupported(),
    "frame_count": Unsupported(1),
    "frame_duration_ms": Unsupported(),
    "markup": Unsupported(),
    "svg": Unsupported(False),
    "style": Unsupported("vivid"),
    "input_fidelity": Unsupported("low"),
    "video": Unsupported(instead="send its first frame as image"),
    "clip_skip": Unsupported(0, 1),
    "prompt_2": Unsupported(instead="send all of it as prompt"),
    "negative_prompt_2": Unsupported(instead="send all of it as negative_prompt"),
    "true_cfg_scale": Unsupported(1, instead="send guidance beside negative_prompt"),
    "guidance_rescale": Unsupported(0),
    "subseed_strength": Unsupported(0),
    "megapixels": Unsupported("1", 1, instead="send size"),
    "resolution": Unsupported("1k", "1K", instead="send size"),
    **alike(("batch_size", "n_iter"), "send n", 1),
    **alike(("lora", "hf_lora", "extra_lora"), "send loras"),
    **alike(("control_image", "controlnet", "ip_adapter_image"), "leave it out"),
    **alike(("refiner", "workflow", "alwayson_scripts"), "leave it out"),
    **alike(("tiling", "enable_hr", "restore_faces", "face_enhance"), "leave it out", False),
}


class Unheeded(Unsupported):
    """A known field that changes nothing here: the answer's warnings say so.

    Args:
        neutral: values that ask for nothing.
        reason: the middle of a sentence.
    """

    def __init__(self, *neutral: object, reason: str) -> None:
        super().__init__(*neutral)
        self.reason = reason


_CHECKED = "what pictures are checked for is the operator's choice"

UNHEEDED: Mapping[str, Unheeded] = {
    "quality": Unheeded("auto", "standard", reason="models here have one quality"),
    "moderation": Unheeded("auto", reason=_CHECKED),
    "safety_tolerance": Unheeded(reason=_CHECKED),
    "enable_safety_checker": Unheeded(True, reason=_CHECKED),
    "disable_safety_checker": Unheeded(False, reason=_CHECKED),
    "prompt_upsampling": Unheeded(False, reason="prompts are read as they are"),
    "refiner_inference_steps": Unheeded(0, reason="there is no refiner here"),
    "high_noise_frac": Unheeded(1, reason="there is no refiner here"),
}

_FORMATS = {"jpg": "jpeg"}
# Other names of schedulers, once they are in small letters and underscores.
_SCHEDULERS = {
    "euler_ancestral": "euler_a",
    "k_euler": "euler",
    "k_euler_ancestral": "euler_a",
    "k_dpmpp_2m": "dpmpp_2m",
    "uni_pc": "unipc",
}


def format_name(value: Any) -> Any:
    """``jpeg`` for ``jpg``, ``JPEG`` and ``image/jpeg``."""
    if not isinstance(value, str):
        return value
    name = value.strip().lower().rpartition("/")[2]
    return _FORMATS.get(name, name)


def scheduler_name(value: Any) -> Any:
    """``dpmpp_2m_karras`` for ``DPM++ 2M Karras``; a name that nobody knows stays."""
    if not isinstance(value, str):
        return value
    name = re.sub(r"\W+", "_", value.strip().lower().replace("++", "pp")).strip("_")
    return _SCHEDULERS.get(name, name)

"""Families of diffusers' pipelines: which there are for a task, and how they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Family:
    """How the pipelines of a model are called.

    Attributes:
        pipelines: the class in diffusers for each task; all share one set of weights.
        negative: the argument that switches a negative prompt on; None = it takes none.
        guided: whether guidance changes a picture by itself.
        unguided: up to this, guidance is off.
        whole: whether img2img reads pictures whole, several of them and without a strength.
        prompt_limit: whether the pipelines are told how long a prompt may be.
        grid: what a side of a picture is a multiple of, in pixels.
        schedulers: further ones than the model's own, by their names here: the class in diffusers,
            and what of its configuration differs.
    """

    pipelines: Mapping[str, str]
    negative: str | None = None
    guided: bool = False
    unguided: float = 1.0
    whole: bool = False
    prompt_limit: bool = True
    grid: int = 16
    schedulers: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)


FAMILIES = {
    "flux": Family(
        {
            "txt2img": "FluxPipeline",
            "img2img": "FluxImg2ImgPipeline",
            "inpaint": "FluxInpaintPipeline",
        },
        negative="true_cfg_scale",
    ),
    "flux2-klein": Family(
        {
            "txt2img": "Flux2KleinPipeline",
            "img2img": "Flux2KleinPipeline",
            "inpaint": "Flux2KleinInpaintPipeline",
        },
        whole=True,
    ),
    "z-image": Family(
        {
            "txt2img": "ZImagePipeline",
            "img2img": "ZImageImg2ImgPipeline",
            "inpaint": "ZImageInpaintPipeline",
        },
        negative="guidance_scale",
        guided=True,
        unguided=0.0,
    ),
    "sdxl": Family(
        {
            "txt2img": "StableDiffusionXLPipeline",
            "img2img": "StableDiffusionXLImg2ImgPipeline",
            "inpaint": "StableDiffusionXLInpaintPipeline",
        },
        negative="guidance_scale",
        guided=True,
        prompt_limit=False,
        grid=8,
        schedulers={
            "ddim": ("DDIMScheduler", {}),
            "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
            "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
            "euler": ("EulerDiscreteScheduler", {}),
            "euler_a": ("EulerAncestralDiscreteScheduler", {}),
            "unipc": ("UniPCMultistepScheduler", {}),
        },
    ),
}

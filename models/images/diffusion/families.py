"""Families of diffusers' pipelines: which there are for a task, and how they are called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def _scaled(pipeline: Any, latents: Any, width: int, height: int) -> Any:
    """Latents of the shape that the decoder reads, (batch, channels, rows, columns)."""
    config = pipeline.vae.config
    return latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)


def _packed(pipeline: Any, latents: Any, width: int, height: int) -> Any:
    """Latents in a row, four to a token."""
    factor = pipeline.vae_scale_factor
    return _scaled(
        pipeline, pipeline._unpack_latents(latents, height, width, factor), width, height
    )


def _normalised(pipeline: Any, latents: Any, width: int, height: int) -> Any:
    """The same, each channel by its own mean and deviation."""
    side, norm = 2 * pipeline.vae_scale_factor, pipeline.vae.bn
    grid = latents.movedim(1, -1).unflatten(-1, (height // side, width // side))
    # A decoder that is offloaded lies in the RAM while the latents are made.
    variance, mean = (one.to(latents.device) for one in (norm.running_var, norm.running_mean))
    deviation = (variance + pipeline.vae.config.batch_norm_eps).sqrt()
    whole = grid * deviation.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1)
    return pipeline._unpatchify_latents(whole)


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
        thinks: how its chat template is asked for; None = a prompt is read as it is.
        grid: what a side of a picture is a multiple of, in pixels; a token's, or a latent's.
        unpacked: latents as the decoder reads them, of those that the scheduler has: of a pipeline,
            latents, width and height in pixels.
        schedulers: further ones than the model's own, by their names here: the class in diffusers,
            and what of its configuration differs.
    """

    pipelines: Mapping[str, str]
    negative: str | None = None
    guided: bool = False
    unguided: float = 1.0
    whole: bool = False
    prompt_limit: bool = True
    thinks: bool | None = None
    grid: int = 16
    unpacked: Callable[[Any, Any, int, int], Any] = _scaled
    schedulers: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)


FAMILIES = {
    "flux": Family(
        {
            "txt2img": "FluxPipeline",
            "img2img": "FluxImg2ImgPipeline",
            "inpaint": "FluxInpaintPipeline",
        },
        negative="true_cfg_scale",
        unpacked=_packed,
    ),
    "flux2-klein": Family(
        {
            "txt2img": "Flux2KleinPipeline",
            "img2img": "Flux2KleinPipeline",
            "inpaint": "Flux2KleinInpaintPipeline",
        },
        whole=True,
        thinks=False,
        unpacked=_normalised,
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
        thinks=True,
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
            "ddim": ("DDIMScheduler", {"clip_sample": False}),
            "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
            "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
            "euler": ("EulerDiscreteScheduler", {}),
            "euler_a": ("EulerAncestralDiscreteScheduler", {}),
            "unipc": ("UniPCMultistepScheduler", {}),
        },
    ),
}

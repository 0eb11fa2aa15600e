"""Families of diffusers' pipelines: the class for each task, and how their arguments differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any


def _scaled(pipeline: Any, latents: Any, width: int, height: int) -> Any:
    """Undo the scaling of latents of shape (batch, channels, rows, columns), the decoder's."""
    config = pipeline.vae.config
    return latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0.0)


def _packed(pipeline: Any, latents: Any, width: int, height: int) -> Any:
    """Unpack latents of shape (batch, tokens, channels), four latents to a token."""
    factor = pipeline.vae_scale_factor
    return _scaled(
        pipeline, pipeline._unpack_latents(latents, height, width, factor), width, height
    )


def _normalised(pipeline: Any, latents: Any, width: int, height: int) -> Any:
    """Unpack latents that are normalised per channel by a mean and a deviation."""
    side, norm = 2 * pipeline.vae_scale_factor, pipeline.vae.bn
    grid = latents.movedim(1, -1).unflatten(-1, (height // side, width // side))
    # An offloaded decoder is in RAM during the denoising steps.
    variance, mean = norm.running_var.to(latents.device), norm.running_mean.to(latents.device)
    deviation = (variance + pipeline.vae.config.batch_norm_eps).sqrt()
    whole = grid * deviation.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1)
    return pipeline._unpatchify_latents(whole)


def _framed(pipeline: Any, latents: Any, width: int, height: int) -> Any:
    """Unpack latents of a decoder of videos, of one frame, normalised per channel."""
    config = pipeline.vae.config
    whole = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor).squeeze(2)
    mean, deviation = map(latents.new_tensor, (config.latents_mean, config.latents_std))
    return whole * deviation.view(1, -1, 1, 1) + mean.view(1, -1, 1, 1)


@dataclass(frozen=True)
class Family:
    """How the pipelines of a model are called.

    Attributes:
        pipelines: diffusers' class for each task; all share one set of weights.
        negative: the argument that switches a negative prompt on; None = not supported.
        guided: whether guidance has an effect without a negative prompt.
        blank: the negative prompt where a request has none, None = there is none then.
        unguided: guidance up to this value is off.
        whole: whether img2img conditions on entire pictures: several, and without a strength.
        prompt_limit: whether the pipelines take ``max_sequence_length``.
        thinks: ``enable_thinking`` of the chat template around a prompt; None = no template.
        grid: pixels that a side is a multiple of; the size of a token or a latent.
        unpacked: converts the scheduler's latents to the shape and scale of the decoder's; takes
            the pipeline, latents, and width and height in pixels.
        schedulers: alternatives to the model's own, by their names in requests: diffusers' class,
            and the changes to its configuration.
    """

    pipelines: Mapping[str, str]
    negative: str | None = None
    guided: bool = False
    blank: str | None = None
    unguided: float = 1.0
    whole: bool = False
    prompt_limit: bool = True
    thinks: bool | None = None
    grid: int = 16
    unpacked: Callable[[Any, Any, int, int], Any] = _scaled
    schedulers: Mapping[str, tuple[str, Mapping[str, Any]]] = field(default_factory=dict)


_FLUX = Family(
    {
        "txt2img": "FluxPipeline",
        "img2img": "FluxImg2ImgPipeline",
        "inpaint": "FluxInpaintPipeline",
    },
    negative="true_cfg_scale",
    unpacked=_packed,
)

FAMILIES = {
    "flux": _FLUX,
    # Its guidance is an input of the network; in schnell, which is distilled, it changes nothing.
    "flux-dev": replace(_FLUX, guided=True),
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
    # Its makers guide it by a negative prompt of one space.
    "qwen-image": Family(
        {
            "txt2img": "QwenImagePipeline",
            "img2img": "QwenImageImg2ImgPipeline",
            "inpaint": "QwenImageInpaintPipeline",
        },
        negative="true_cfg_scale",
        guided=True,
        blank=" ",
        unpacked=_framed,
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

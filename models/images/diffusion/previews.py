"""Previews of a picture while it is made.

A step's latents and the model's output give an estimate of the final latents. The decoder would
take longer than a step, so a linear map turns each latent into one colour instead. The map is
fitted once, by least squares, to the latents of generated patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_SIDE = 256  # of a pattern, in pixels
_PATTERNS = 4
_WAVES = (4, 8, 16, 32)  # colours across a pattern
_SEED = 1


class Previews:
    """Draws latents as pictures.

    Args:
        pipeline: whose latents are drawn.
        unpacked: converts the scheduler's latents to the shape and scale of the decoder's.
    """

    def __init__(self, pipeline: Any, unpacked: Callable[[Any, Any, int, int], Any]) -> None:
        self._pipeline = pipeline
        self._unpacked = unpacked
        self._colours: Any = None

    def prepare(self) -> None:
        """Fit the map, once. Call this before a run: an offloaded encoder moves to the GPU."""
        if self._colours is None:
            self._colours = _fitted(self._pipeline.vae, self._pipeline._execution_device)

    def __call__(self, latents: Any, width: int, height: int) -> Any:
        """Draw a batch's latents, one pixel for each latent.

        Returns:
            RGB from 0 to 255, shape (batch, rows, columns, 3), uint8, in numpy.
        """
        return self.pixels(latents, width, height).cpu().numpy()

    def pixels(self, latents: Any, width: int, height: int) -> Any:
        """Draw the same as a tensor on the latents' device."""
        import torch

        self.prepare()
        with torch.inference_mode():
            values = self._unpacked(self._pipeline, latents, width, height).float()
            rgb = _with_one(values.movedim(1, -1)) @ self._colours
            return (rgb.clamp(0, 1) * 255).round().byte()


def estimate(scheduler: Any, output: Any, timestep: Any, latents: Any) -> Any:
    """Estimate the final latents from the model's output at a step.

    Args:
        scheduler: before its ``step`` for this output.
        output: of the model.
        timestep: as the scheduler's ``step`` takes it.
        latents: the model's input.
    """
    if getattr(scheduler, "step_index", 0) is None:
        scheduler._init_step_index(timestep)
    if hasattr(scheduler, "convert_model_output"):  # multistep solvers bring their own formula
        return scheduler.convert_model_output(output, sample=latents)
    if hasattr(scheduler, "sigmas"):
        return latents - scheduler.sigmas[scheduler.step_index] * output
    left = scheduler.alphas_cumprod[int(timestep)]
    return (latents - (1 - left) ** 0.5 * output) / left**0.5


def _fitted(vae: Any, device: Any) -> Any:
    """Fit the map from a latent and a 1 to RGB from 0 to 1; float32, shape (channels + 1, 3).

    Args:
        vae: with the encoder.
        device: where the pipeline computes; an offloaded encoder moves there when it is called.
    """
    import torch

    patterns = _patterns()
    with torch.inference_mode():
        seen_by = (patterns * 2 - 1).to(device, vae.dtype)
        if frames := hasattr(vae.config, "temperal_downsample"):  # of videos: one frame each
            seen_by = seen_by.unsqueeze(2)
        latents = vae.encode(seen_by).latent_dist.mode().float().cpu()
        latents = latents.squeeze(2) if frames else latents
        seen = torch.nn.functional.interpolate(patterns, latents.shape[-2:], mode="area")
        known = _with_one(latents.movedim(1, -1).flatten(0, 2)).double()
        wanted = seen.movedim(1, -1).flatten(0, 2).double()
        # Ridge regression: channels may be equal or constant.
        square = known.T @ known + 1e-3 * torch.eye(known.shape[1])
        return torch.linalg.solve(square, known.T @ wanted).float().to(device)


def _with_one(values: Any) -> Any:
    import torch

    return torch.nn.functional.pad(values, (0, 1), value=1.0)


def _patterns() -> Any:
    """Return coarse and fine clouds of colour, 0 to 1, shape (patterns, 3, side, side)."""
    import torch

    dice = torch.Generator().manual_seed(_SEED)
    sums = torch.zeros(_PATTERNS, 3, _SIDE, _SIDE)
    for waves in _WAVES:
        clouds = torch.rand(_PATTERNS, 3, waves, waves, generator=dice) - 0.5
        sums += torch.nn.functional.interpolate(clouds, (_SIDE, _SIDE), mode="bicubic")
    return (sums + 0.5).clamp(0, 1)

"""What a picture will be, seen while it is made.

A step's latents and what the model said of them tell what the picture would be if it went on in a
straight line. A decoder would take longer than a step to show it: here each latent becomes one
colour, by a linear map. The map is found once, by least squares, on what the model's own encoder
makes of patterns drawn here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_SIDE = 256  # of a pattern, in pixels
_PATTERNS = 4
_WAVES = (4, 8, 16, 32)  # colours across a pattern
_SEED = 1


class Previews:
    """Shows latents as pictures.

    Args:
        pipeline: whose latents.
        unpacked: makes latents as its decoder reads them of those that its scheduler has.
    """

    def __init__(self, pipeline: Any, unpacked: Callable[[Any, Any, int, int], Any]) -> None:
        self._pipeline = pipeline
        self._unpacked = unpacked
        self._colours: Any = None

    def prepare(self) -> None:
        """Fit the map, once; before a run: it calls the encoder, which may wait in the RAM."""
        if self._colours is None:
            self._colours = _fitted(self._pipeline.vae, self._pipeline._execution_device)

    def __call__(self, latents: Any, width: int, height: int) -> Any:
        """The pictures of a batch's latents, one pixel for each latent.

        Returns:
            RGB from 0 to 255, shape (batch, rows, columns, 3), uint8, in numpy.
        """
        return self.pixels(latents, width, height).cpu().numpy()

    def pixels(self, latents: Any, width: int, height: int) -> Any:
        """The same as a tensor, on the latents' device."""
        import torch

        self.prepare()
        with torch.inference_mode():
            values = self._unpacked(self._pipeline, latents, width, height).float()
            rgb = _with_one(values.movedim(1, -1)) @ self._colours
            return (rgb.clamp(0, 1) * 255).round().byte()


def estimate(scheduler: Any, said: Any, timestep: Any, latents: Any) -> Any:
    """The picture's latents, by what the model said at a step.

    Args:
        scheduler: one that the step has not moved on yet.
        said: the model's output.
        timestep: as the scheduler's ``step`` takes it.
        latents: that the model was asked about.
    """
    if getattr(scheduler, "step_index", 0) is None:
        scheduler._init_step_index(timestep)
    if hasattr(scheduler, "convert_model_output"):  # of several steps: it has a form of its own
        return scheduler.convert_model_output(said, sample=latents)
    if hasattr(scheduler, "sigmas"):
        return latents - scheduler.sigmas[scheduler.step_index] * said
    left = scheduler.alphas_cumprod[int(timestep)]
    return (latents - (1 - left) ** 0.5 * said) / left**0.5


def _fitted(vae: Any, device: Any) -> Any:
    """The map from a latent and 1 to RGB from 0 to 1, shape (channels + 1, 3), float32.

    Args:
        vae: the encoder.
        device: where the pipeline computes; an encoder that is offloaded lies elsewhere until it
            is called.
    """
    import torch

    patterns = _patterns()
    with torch.inference_mode():
        encoded = vae.encode((patterns * 2 - 1).to(device, vae.dtype)).latent_dist
        latents = encoded.mode().float().cpu()
        seen = torch.nn.functional.interpolate(patterns, latents.shape[-2:], mode="area")
        known = _with_one(latents.movedim(1, -1).flatten(0, 2)).double()
        wanted = seen.movedim(1, -1).flatten(0, 2).double()
        # A little of a ridge: channels may hold the same, or nothing.
        square = known.T @ known + 1e-3 * torch.eye(known.shape[1])
        return torch.linalg.solve(square, known.T @ wanted).float().to(device)


def _with_one(values: Any) -> Any:
    import torch

    return torch.nn.functional.pad(values, (0, 1), value=1.0)


def _patterns() -> Any:
    """Clouds of colour, coarse and fine; from 0 to 1, shape (patterns, 3, side, side)."""
    import torch

    dice = torch.Generator().manual_seed(_SEED)
    sums = torch.zeros(_PATTERNS, 3, _SIDE, _SIDE)
    for waves in _WAVES:
        clouds = torch.rand(_PATTERNS, 3, waves, waves, generator=dice) - 0.5
        sums += torch.nn.functional.interpolate(clouds, (_SIDE, _SIDE), mode="bicubic")
    return (sums + 0.5).clamp(0, 1)

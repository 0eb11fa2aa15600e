"""Real-ESRGAN's checkpoint with one narrow block: the same tensor names, random weights."""

from __future__ import annotations

from pathlib import Path

_CHANNELS, _GROWTH = 8, 4


def build(into: Path) -> None:
    """Write ``model.safetensors``."""
    import torch
    from safetensors.torch import save_file

    weights = {}
    for name, before, after in _convolutions():
        spread = (2 / (9 * before)) ** 0.5
        weights[f"{name}.weight"] = torch.randn(after, before, 3, 3) * spread
        weights[f"{name}.bias"] = torch.full((after,), 0.5 if name == "conv_last" else 0.0)
    weights["conv_last.weight"] *= 0.3  # keeps the output near the middle of its range
    save_file(weights, into / "model.safetensors")


def _convolutions() -> list[tuple[str, int, int]]:
    """Return the name of every convolution, with its input and output channels."""
    layers = [("conv_first", 3, _CHANNELS)]
    for dense in (1, 2, 3):
        for place in range(1, 6):
            after = _CHANNELS if place == 5 else _GROWTH
            before = _CHANNELS + (place - 1) * _GROWTH
            layers.append((f"body.0.rdb{dense}.conv{place}", before, after))
    ends = ("conv_body", "conv_up1", "conv_up2", "conv_hr")
    return [*layers, *((name, _CHANNELS, _CHANNELS) for name in ends), ("conv_last", _CHANNELS, 3)]

"""Shapes and positions in BEN2's network: quarters and wholes, pictures and sequences."""

from __future__ import annotations

import math

import torch
from torch.nn import functional


def quarters(x: torch.Tensor) -> torch.Tensor:
    """Shape (1, c, 2h, 2w) to (4, c, h, w), row by row."""
    _, channels, height, breadth = x.shape
    x = x.reshape(channels, 2, height // 2, 2, breadth // 2).permute(1, 3, 0, 2, 4)
    return x.reshape(4, channels, height // 2, breadth // 2)


def joined(x: torch.Tensor) -> torch.Tensor:
    """Shape (4, c, h, w) to (1, c, 2h, 2w)."""
    _, channels, height, breadth = x.shape
    x = x.reshape(2, 2, channels, height, breadth).permute(2, 0, 3, 1, 4)
    return x.reshape(1, channels, 2 * height, 2 * breadth)


def sequence(x: torch.Tensor) -> torch.Tensor:
    """Shape (n, c, h, w) to (h * w, n, c)."""
    return x.flatten(2).permute(2, 0, 1)


def picture(x: torch.Tensor, height: int, breadth: int) -> torch.Tensor:
    """Shape (h * w, n, c) to (n, c, h, w)."""
    return x.permute(1, 2, 0).unflatten(2, (height, breadth))


def doubled(x: torch.Tensor) -> torch.Tensor:
    """Shape (n, c, h, w) to (n, c, 2h, 2w), each pixel four times."""
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def resized_like(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Resize to the height and width of another tensor."""
    return functional.interpolate(x, size=other.shape[-2:], mode="bilinear")


def positions(width: int, height: int, breadth: int, like: torch.Tensor) -> torch.Tensor:
    """Return sines and cosines of each position (DETR's, arXiv:2005.12872).

    Shape (h * w, 1, width).
    """
    half = width // 2
    steps = torch.arange(half, device=like.device, dtype=torch.float32)
    periods = 10_000 ** (2 * (steps // 2) / half)

    def waves(count: int) -> torch.Tensor:
        place = torch.arange(count, device=like.device, dtype=torch.float32) + 0.5
        angles = (place / (count + 1e-6) * 2 * math.pi)[:, None] / periods
        return torch.stack((angles[:, 0::2].sin(), angles[:, 1::2].cos()), dim=2).flatten(1)

    down = waves(height)[:, None].expand(height, breadth, half)
    along = waves(breadth)[None].expand(height, breadth, half)
    return torch.cat((down, along), 2).reshape(-1, 1, width).to(like.dtype)

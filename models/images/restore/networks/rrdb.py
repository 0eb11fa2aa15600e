"""Real-ESRGAN's network: residual dense blocks, then two upsampling stages of factor 2.

Wang et al., ESRGAN, arXiv:1809.00219, and Real-ESRGAN, arXiv:2107.10833. Parameters are named as in
published checkpoints (BasicSR's names).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import nn

_RESIDUAL = 0.2  # factor of a block's output in the residual sum


class DenseBlock(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Five convolutions; each sees the input and the outputs of all before it."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.conv1 = _conv(channels, growth)
        self.conv2 = _conv(channels + growth, growth)
        self.conv3 = _conv(channels + 2 * growth, growth)
        self.conv4 = _conv(channels + 3 * growth, growth)
        self.conv5 = _conv(channels + 4 * growth, channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in = shape out."""
        seen = x
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            seen = torch.cat((seen, _leaky(conv(seen))), 1)
        result: torch.Tensor = self.conv5(seen) * _RESIDUAL + x
        return result


class ResidualBlock(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """Three dense blocks."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = DenseBlock(channels, growth)
        self.rdb2 = DenseBlock(channels, growth)
        self.rdb3 = DenseBlock(channels, growth)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in = shape out."""
        result: torch.Tensor = self.rdb3(self.rdb2(self.rdb1(x))) * _RESIDUAL + x
        return result


class RRDBNet(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The network, for a factor of 4.

    Args:
        blocks: 23 in x4plus, 6 in the network for drawings.
        channels: width between blocks.
        growth: channels that each convolution of a block adds.
    """

    def __init__(self, blocks: int = 23, channels: int = 64, growth: int = 32) -> None:
        super().__init__()
        self.conv_first = _conv(3, channels)
        self.body = nn.Sequential(*(ResidualBlock(channels, growth) for _ in range(blocks)))
        self.conv_body = _conv(channels, channels)
        self.conv_up1 = _conv(channels, channels)
        self.conv_up2 = _conv(channels, channels)
        self.conv_hr = _conv(channels, channels)
        self.conv_last = _conv(channels, 3)

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor]) -> Self:
        """Build the network for these weights, and load them.

        Raises:
            ValueError: the weights are of another network; the message names what differs.
        """
        matches = [re.match(r"body\.(\d+)\.", name) for name in weights]
        numbers = [int(match[1]) for match in matches if match]
        first = weights.get("conv_first.weight")
        dense = weights.get("body.0.rdb1.conv1.weight")
        if first is None or dense is None or first.shape[1] != 3:
            raise ValueError("these are no weights of an RRDBNet that enlarges four times")
        with torch.device("meta"):
            net = cls(max(numbers) + 1, first.shape[0], dense.shape[0])
        missing, unexpected = net.load_state_dict(dict(weights), strict=False, assign=True)
        if missing or unexpected:
            raise ValueError(f"missing: {missing[:5]}; unexpected: {unexpected[:5]}")
        net.eval().requires_grad_(False)
        return net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Enlarge RGB from 0 to 1, shape (n, 3, h, w), to (n, 3, 4h, 4w).

        Values of the result may lie slightly outside the range.
        """
        x = self.conv_first(x)
        x = x + self.conv_body(self.body(x))
        x = _leaky(self.conv_up1(_twice(x)))
        x = _leaky(self.conv_up2(_twice(x)))
        result: torch.Tensor = self.conv_last(_leaky(self.conv_hr(x)))
        return result


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _leaky(x: torch.Tensor) -> torch.Tensor:
    return nn.functional.leaky_relu(x, 0.2, inplace=True)


def _twice(x: Any) -> Any:
    return nn.functional.interpolate(x, scale_factor=2.0, mode="nearest")

"""Linear layers of eight bits, with a scale for each row."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Int8Linear(nn.Linear):  # type: ignore[misc]  # torch is not read by mypy
    """A linear layer whose weights are one byte each.

    Args:
        weight: int8, shape (out, in).
        scale: float32, shape (out, 1).
        bias: shape (out,), None without one.
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: Any = None) -> None:
        nn.Module.__init__(self)  # a layer that adapters know, without the weights that it makes
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (…, in) to (…, out).

        Whole numbers up to 127 are exact in bfloat16 and float32: the scale is applied to what
        they give, a number for each output instead of one for each weight. In float16 such sums
        might overflow.
        """
        if x.dtype is torch.float16:
            weight = (self.weight.to(self.scale.dtype) * self.scale).to(x.dtype)
            return nn.functional.linear(x, weight, self.bias)
        out = nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale[:, 0]
        if self.bias is not None:
            out = out + self.bias
        return out.to(x.dtype)


def quantise(model: Any) -> None:
    """Store the linear layers of a model in eight bits, each row by its largest weight."""
    for name, layer in [one for one in model.named_modules() if type(one[1]) is nn.Linear]:
        weight = layer.weight.detach()
        scale = weight.float().abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
        rounded = (weight.float() / scale).round().to(torch.int8)
        bias = None if layer.bias is None else layer.bias.detach()
        model.set_submodule(name, Int8Linear(rounded, scale, bias))

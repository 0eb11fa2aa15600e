"""Linear layers with int8 weights, and a scale for each row."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Int8Linear(nn.Linear):  # type: ignore[misc]  # torch is not read by mypy
    """A linear layer with int8 weights.

    Args:
        weight: int8, shape (out, in).
        scale: float32, shape (out, 1).
        bias: shape (out,), or None.
    """

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: Any = None) -> None:
        nn.Module.__init__(self)  # a subclass that peft knows, without allocating float weights
        self.out_features, self.in_features = weight.shape
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("scale", scale)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape (…, in) to (…, out).

        Integers up to 127 are exact in bfloat16 and float32, so the scale is applied to each output
        instead of each weight. In float16 such sums might overflow.
        """
        if x.dtype is torch.float16:
            weight = (self.weight.to(self.scale.dtype) * self.scale).to(x.dtype)
            return nn.functional.linear(x, weight, self.bias)
        out = nn.functional.linear(x, self.weight.to(x.dtype)) * self.scale[:, 0]
        if self.bias is not None:
            out = out + self.bias
        return out.to(x.dtype)


def quantise(model: Any) -> None:
    """Quantise a model's linear layers to int8; a row's scale maps its largest weight to 127."""
    for name, layer in [pair for pair in model.named_modules() if type(pair[1]) is nn.Linear]:
        weight = layer.weight.detach()
        scale = weight.float().abs().amax(1, keepdim=True).clamp_min(1e-12) / 127
        rounded = (weight.float() / scale).round().to(torch.int8)
        bias = None if layer.bias is None else layer.bias.detach()
        model.set_submodule(name, Int8Linear(rounded, scale, bias))

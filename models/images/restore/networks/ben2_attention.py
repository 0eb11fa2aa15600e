"""BEN2's attention between four quarters of a picture and the whole.

Parameters are named as in BEN2's checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

from models.images.restore.networks import ben2_tensors as tensors


class CrossAttention(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The whole attends to the quarters, pooled to several sizes; then they attend to it.

    Takes and returns shape (5, width, h, w): four quarters and the whole.
    """

    def __init__(self, width: int, pools: Sequence[int]) -> None:
        super().__init__()
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, 1) for _ in range(5))
        self.linear1, self.linear2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.linear3, self.linear4 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self._pools = pools

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in = shape out."""
        _, width, height, breadth = x.shape
        quarters, whole = x[:4], x[4:]
        large = tensors.joined(quarters)
        sizes = [(round(height / by), round(breadth / by)) for by in self._pools]
        pooled = [functional.adaptive_avg_pool2d(large, size) for size in sizes]
        keys = torch.cat([tensors.sequence(feature) for feature in pooled])
        places = torch.cat([tensors.positions(width, *size, x) for size in sizes])
        asked = tensors.sequence(whole)
        here = tensors.positions(width, height, breadth, x)
        asked = asked + self.attention[0](asked + here, keys + places, keys)[0]
        whole_ = self._settled(asked, self.linear1, self.linear2)
        tokens = tensors.sequence(quarters)
        parts = tensors.sequence(tensors.quarters(tensors.picture(whole_, height, breadth)))
        seen = [
            self.attention[index + 1](tokens[:, index : index + 1], part, part)[0]
            for index, part in enumerate(parts.split(1, dim=1))
        ]
        tokens = self._settled(tokens + torch.cat(seen, 1), self.linear3, self.linear4)
        return tensors.picture(torch.cat((tokens, whole_), 1), height, breadth)

    def _settled(self, x: torch.Tensor, widen: nn.Linear, narrow: nn.Linear) -> torch.Tensor:
        x = self.norm1(x)
        result: torch.Tensor = self.norm2(x + narrow(functional.gelu(widen(x))))
        return result


class Refinement(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The quarters attend to the whole where it is salient; then the whole is updated from them.

    Takes and returns shape (5, width, h, w): four quarters and the whole.
    """

    def __init__(self, width: int, pools: Sequence[int]) -> None:
        super().__init__()
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, 1) for _ in range(4))
        self.linear3, self.linear4 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.sal_conv = nn.Conv2d(width, 1, 1)
        self._pools = pools

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape in = shape out."""
        _, _, height, breadth = x.shape
        quarters, whole = x[:4], x[4:]
        salient = tensors.doubled(self.sal_conv(whole).sigmoid())
        quarters = quarters * tensors.quarters(salient)
        parts = tensors.quarters(whole)
        sizes = [(round(height / by), round(breadth / by)) for by in self._pools]
        keys = torch.cat(
            [tensors.sequence(functional.adaptive_avg_pool2d(parts, size)) for size in sizes]
        )
        tokens = tensors.sequence(quarters)
        seen = [
            attend(token, key, key)[0]
            for attend, token, key in zip(
                self.attention, tokens.split(1, dim=1), keys.split(1, dim=1), strict=True
            )
        ]
        tokens = self.norm1(tokens + torch.cat(seen, 1))
        tokens = self.norm2(tokens + self.linear4(functional.gelu(self.linear3(tokens))))
        quarters = tensors.picture(tokens, height, breadth)
        whole = whole + functional.interpolate(tensors.joined(quarters), size=whole.shape[-2:])
        return torch.cat((quarters, whole))

"""BEN2's network: a Swin backbone looks at four quarters and the whole, a decoder joins them.

PramaLLC's BEN2 (github.com/PramaLLC/BEN2) after MVANet (Yu et al., arXiv:2404.07445). The decoder's
parameters are named as in the checkpoint; the backbone is transformers', and its are renamed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional

SIDE = 1024  # of the square picture that it reads
_UNUSED = re.compile(r"sideout\d\.|.*relative_position_index$")  # of training; of no parameters


class Ben2(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The network.

    Args:
        width: of the backbone's first stage and of the whole decoder.
        depths: of the backbone's stages.
        heads: of its first stage; they double, as the width does.
        window: of its attention.
    """

    def __init__(
        self,
        width: int = 128,
        depths: Sequence[int] = (2, 2, 18, 2),
        heads: int = 4,
        window: int = 12,
    ) -> None:
        super().__init__()
        self.backbone = _backbone(width, depths, heads, window)
        self.output5 = _block(8 * width, width)
        self.output4 = _block(4 * width, width)
        self.output3 = _block(2 * width, width)
        self.output2 = _block(width, width)
        self.output1 = _block(width, width)
        self.multifieldcrossatt = CrossAttention(width, (1, 4, 8))
        for stage in range(1, 5):
            setattr(self, f"conv{stage}", _block(width, width))
            setattr(self, f"dec_blk{stage}", Refinement(width, (2, 4, 8)))
        head = 3 * width
        self.insmask_head = nn.Sequential(
            *_block(width, head), *_block(head, head), nn.Conv2d(head, width, 3, padding=1)
        )
        self.shallow = nn.Sequential(nn.Conv2d(3, width, 3, padding=1))
        self.upsample1 = _block(width, width)
        self.upsample2 = _block(width, width)
        self.output = nn.Sequential(nn.Conv2d(width, 1, 3, padding=1))

    @classmethod
    def of(cls, weights: Mapping[str, torch.Tensor], **sizes: Any) -> Self:
        """The network with weights of BEN2's checkpoint; ``sizes`` are the constructor's.

        Raises:
            ValueError: they are of another; the message names what is missing or too much.
        """
        net = cls(**sizes)
        state = renamed(weights)
        wanted = net.state_dict()
        missing = [name for name in wanted if name not in state and ".swin.layernorm." not in name]
        unexpected = [name for name in state if name not in wanted]
        if missing or unexpected:
            raise ValueError(f"missing: {missing[:5]}; unexpected: {unexpected[:5]}")
        net.load_state_dict(state, strict=False)
        net.eval().requires_grad_(False)
        return net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """How much each pixel belongs to the foreground.

        Args:
            x: normalised RGB, shape (1, 3, h, w), both a multiple of 64.

        Returns:
            Shape (1, 1, h, w), from 0 to 1.
        """
        shallow = self.shallow(x)
        whole = functional.interpolate(x, scale_factor=0.5, mode="bilinear")
        features = self.backbone(torch.cat((_quarters(x), whole))).feature_maps
        reads = (self.output1, self.output2, self.output3, self.output4, self.output5)
        first, *others, last = (
            read(feature) for read, feature in zip(reads, features, strict=True)
        )
        seen = self.multifieldcrossatt(last)
        for stage, one in zip((4, 3, 2, 1), (*reversed(others), first), strict=True):
            refine, conv = getattr(self, f"dec_blk{stage}"), getattr(self, f"conv{stage}")
            seen = conv(refine(one + _as_large(seen, one)))
        joined = _joined(seen[:4])
        made = self.insmask_head(joined + _as_large(seen[4:], joined))
        made = self.upsample1(_twice(made + _as_large(shallow, made)))
        made = self.upsample2(_twice(made + _as_large(shallow, made)))
        result: torch.Tensor = self.output(made).sigmoid()
        return result


class CrossAttention(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The whole looks at the quarters, pooled to several sizes; then they look at it.

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
        large = _joined(quarters)
        sizes = [(round(height / by), round(breadth / by)) for by in self._pools]
        pooled = [functional.adaptive_avg_pool2d(large, size) for size in sizes]
        keys = torch.cat([_sequence(one) for one in pooled])
        places = torch.cat([_positions(width, *size, x) for size in sizes])
        asked = _sequence(whole)
        here = _positions(width, height, breadth, x)
        asked = asked + self.attention[0](asked + here, keys + places, keys)[0]
        whole_ = self._settled(asked, self.linear1, self.linear2)
        tokens = _sequence(quarters)
        parts = _sequence(_quarters(_picture(whole_, height, breadth)))
        seen = [
            self.attention[index + 1](tokens[:, index : index + 1], part, part)[0]
            for index, part in enumerate(parts.split(1, dim=1))
        ]
        tokens = self._settled(tokens + torch.cat(seen, 1), self.linear3, self.linear4)
        return _picture(torch.cat((tokens, whole_), 1), height, breadth)

    def _settled(self, x: torch.Tensor, widen: nn.Linear, narrow: nn.Linear) -> torch.Tensor:
        x = self.norm1(x)
        result: torch.Tensor = self.norm2(x + narrow(functional.gelu(widen(x))))
        return result


class Refinement(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The quarters look at the whole where it sees something, and the whole takes it over.

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
        salient = _twice(self.sal_conv(whole).sigmoid())
        quarters = quarters * _quarters(salient)
        parts = _quarters(whole)
        sizes = [(round(height / by), round(breadth / by)) for by in self._pools]
        keys = torch.cat([_sequence(functional.adaptive_avg_pool2d(parts, size)) for size in sizes])
        tokens = _sequence(quarters)
        seen = [
            attend(token, key, key)[0]
            for attend, token, key in zip(
                self.attention, tokens.split(1, dim=1), keys.split(1, dim=1), strict=True
            )
        ]
        tokens = self.norm1(tokens + torch.cat(seen, 1))
        tokens = self.norm2(tokens + self.linear4(functional.gelu(self.linear3(tokens))))
        quarters = _picture(tokens, height, breadth)
        whole = whole + functional.interpolate(_joined(quarters), size=whole.shape[-2:])
        return torch.cat((quarters, whole))


def renamed(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A checkpoint's weights by our names; what is of training only is left out."""
    state = {}
    for name, value in weights.items():
        if _UNUSED.match(name):
            continue
        if not name.startswith("backbone."):
            state[name] = value
        elif ".attn.qkv." in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                state[_of_backbone(name.replace(".attn.qkv.", f".attention.{letter}_proj."))] = part
        else:
            state[_of_backbone(name)] = value
    return state


def _stage_norm(found: re.Match[str]) -> str:
    return f"backbone.hidden_states_norms.stage{int(found[1]) + 1}."


_BACKBONE: tuple[tuple[str, Any], ...] = (
    (r"^backbone\.patch_embed\.proj\.", "backbone.swin.embeddings.patch_embeddings.projection."),
    (r"^backbone\.patch_embed\.norm\.", "backbone.swin.embeddings.norm."),
    (r"^backbone\.norm(\d)\.", _stage_norm),
    (r"^backbone\.layers\.", "backbone.swin.encoder.layers."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
    (r"\.attn\.relative", ".attention.relative_position_bias.relative"),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
)  # fmt: skip


def _of_backbone(name: str) -> str:
    for pattern, ours in _BACKBONE:
        name = re.sub(pattern, ours, name)
    return name


def _backbone(width: int, depths: Sequence[int], heads: int, window: int) -> Any:
    from transformers import SwinConfig
    from transformers.models.swin.modeling_swin import SwinBackbone

    stages = [f"stage{index}" for index in range(1, len(depths) + 1)]
    config = SwinConfig(
        image_size=SIDE // 2,
        embed_dim=width,
        depths=list(depths),
        num_heads=[heads * 2**index for index in range(len(depths))],
        window_size=window,
        drop_path_rate=0.0,
        out_features=["stem", *stages],
    )
    backbone = SwinBackbone(config)
    backbone.hidden_states_norms["stem"] = nn.Identity()
    return backbone


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1), nn.InstanceNorm2d(after), nn.GELU()
    )


def _quarters(x: torch.Tensor) -> torch.Tensor:
    """Shape (1, c, 2h, 2w) to (4, c, h, w), row by row."""
    _, channels, height, breadth = x.shape
    x = x.reshape(channels, 2, height // 2, 2, breadth // 2).permute(1, 3, 0, 2, 4)
    return x.reshape(4, channels, height // 2, breadth // 2)


def _joined(x: torch.Tensor) -> torch.Tensor:
    """Shape (4, c, h, w) to (1, c, 2h, 2w)."""
    _, channels, height, breadth = x.shape
    x = x.reshape(2, 2, channels, height, breadth).permute(2, 0, 3, 1, 4)
    return x.reshape(1, channels, 2 * height, 2 * breadth)


def _sequence(x: torch.Tensor) -> torch.Tensor:
    """Shape (n, c, h, w) to (h * w, n, c)."""
    return x.flatten(2).permute(2, 0, 1)


def _picture(x: torch.Tensor, height: int, breadth: int) -> torch.Tensor:
    """Shape (h * w, n, c) to (n, c, h, w)."""
    return x.permute(1, 2, 0).unflatten(2, (height, breadth))


def _twice(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def _as_large(x: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, size=other.shape[-2:], mode="bilinear")


def _positions(width: int, height: int, breadth: int, like: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of each place (DETR's, arXiv:2005.12872), shape (h * w, 1, width)."""
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

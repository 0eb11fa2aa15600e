"""BEN2's network: a Swin backbone for four quarters and the whole, and a decoder joining them.

PramaLLC's BEN2 (github.com/PramaLLC/BEN2) after MVANet (Yu et al., arXiv:2404.07445). The decoder's
parameters are named as in the checkpoint; those of the backbone, which is transformers', are
renamed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import torch
from torch import nn
from torch.nn import functional

from models.images.restore.networks import ben2_tensors as tensors
from models.images.restore.networks.ben2_attention import CrossAttention, Refinement

SIDE = 1024  # of the square input, in pixels
_UNUSED = re.compile(r"sideout\d\.|.*relative_position_index$")  # outputs of training, and buffers


class Ben2(nn.Module):  # type: ignore[misc]  # torch is not read by mypy
    """The network.

    Args:
        width: of the backbone's first stage and of the entire decoder.
        depths: blocks in each stage of the backbone.
        heads: in the first stage; they double with each stage, as the width does.
        window: side of the attention windows.
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
        """Build the network, and load the weights of a BEN2 checkpoint.

        Args:
            weights: by the checkpoint's names.
            sizes: the constructor's arguments.

        Raises:
            ValueError: the weights are of another network; the message names what differs.
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
        """Return how much each pixel belongs to the foreground.

        Args:
            x: normalised RGB, shape (1, 3, h, w), both a multiple of 64.

        Returns:
            Shape (1, 1, h, w), from 0 to 1.
        """
        shallow = self.shallow(x)
        whole = functional.interpolate(x, scale_factor=0.5, mode="bilinear")
        features = self.backbone(torch.cat((tensors.quarters(x), whole))).feature_maps
        reads = (self.output1, self.output2, self.output3, self.output4, self.output5)
        first, *others, last = (
            read(feature) for read, feature in zip(reads, features, strict=True)
        )
        seen = self.multifieldcrossatt(last)
        for stage, feature in zip((4, 3, 2, 1), (*reversed(others), first), strict=True):
            refine, conv = getattr(self, f"dec_blk{stage}"), getattr(self, f"conv{stage}")
            seen = conv(refine(feature + tensors.resized_like(seen, feature)))
        joined = tensors.joined(seen[:4])
        made = self.insmask_head(joined + tensors.resized_like(seen[4:], joined))
        made = self.upsample1(tensors.doubled(made + tensors.resized_like(shallow, made)))
        made = self.upsample2(tensors.doubled(made + tensors.resized_like(shallow, made)))
        result: torch.Tensor = self.output(made).sigmoid()
        return result


def renamed(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename a checkpoint's weights to this network's names; drop those of training only."""
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


def _stage_norm(match: re.Match[str]) -> str:
    return f"backbone.hidden_states_norms.stage{int(match[1]) + 1}."


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

"""Checkpoints in eight bits."""

from __future__ import annotations

import torch
from torch import nn

from models.weights.layout import COMFY, QUANTO, SDNQ

LAYOUTS = {"quanto": QUANTO, "sdnq": SDNQ, "comfy": COMFY, "plain": None}


def stored(model: nn.Module, layout: str, *, one_scale: bool = False) -> dict[str, torch.Tensor]:
    """A model's weights as each of the programs writes them, in bfloat16 where not in int8."""
    kind, made = LAYOUTS[layout], {}
    for name, value in model.state_dict().items():
        if kind is None or value.dim() != 2 or not name.endswith(".weight"):
            made[name] = value.to(torch.bfloat16)
            continue
        stem = name.removesuffix(".weight")
        largest = value.abs().max() if one_scale else value.abs().amax(1, keepdim=True)
        scale = largest / 127
        made[stem + kind.weight] = (value / scale).round().to(torch.int8)
        made[stem + kind.scale] = scale
        if kind is QUANTO:
            made |= {f"{stem}.input_scale": torch.ones(()), f"{stem}.output_scale": torch.ones(())}
    return made

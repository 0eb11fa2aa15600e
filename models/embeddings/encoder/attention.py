"""Attention within texts that are packed into one row, without padding.

On a CPU, texts of equal length are processed together. On a GPU, where this would be a kernel
launch for each length, one kernel processes all of them (``models.device.varlen``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch.nn.functional import scaled_dot_product_attention

Attend = Callable[[torch.Tensor], torch.Tensor]
"""Takes queries, keys and values of shape (tokens, 3, heads, head width), and returns the attended
values of shape (tokens, heads * head width)."""


def within(lengths: Sequence[int], device: torch.device) -> Attend:
    """Return the attention within texts of these lengths."""
    return _by_length(lengths) if device.type == "cpu" else _by_ends(lengths, device)


def _by_length(lengths: Sequence[int]) -> Attend:
    groups = [(len(list(equal)), length) for length, equal in groupby(lengths)]
    sizes = [texts * length for texts, length in groups]

    def attend(qkv: torch.Tensor) -> torch.Tensor:
        attended = []
        for group, states in zip(groups, qkv.split(sizes), strict=True):
            # (3, texts, heads, length, head width)
            q, k, v = states.unflatten(0, group).permute(2, 0, 3, 1, 4)
            out = scaled_dot_product_attention(q, k, v)
            attended.append(out.transpose(1, 2).reshape(len(states), -1))
        return torch.cat(attended)

    return attend


def _by_ends(lengths: Sequence[int], device: torch.device) -> Attend:
    from models.device import varlen  # the import takes a second

    ends = torch.tensor([0, *lengths]).cumsum(0).to(device, torch.int32)
    packed = varlen.Packed(ends, max(lengths))

    def attend(qkv: torch.Tensor) -> torch.Tensor:
        q, k, v = qkv.unbind(1)
        return varlen.attend(q, k, v, packed).flatten(1)

    return attend

"""Attention of texts that lie one after another in a single row: each token sees all of its text.

On a CPU texts of one length go together. On a GPU that would be a launch for each length: there
torch's kernel for sequences of any lengths reads them as they lie, in half precision; where it is
missing the texts are padded, for the attention alone.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

Attend = Callable[[torch.Tensor], torch.Tensor]
"""Of queries, keys and values, of shape (tokens, 3, heads, width of a head), the attended values,
of shape (tokens, heads * width of a head)."""


def within(lengths: Sequence[int], like: torch.Tensor) -> Attend:
    """The attention within texts of these lengths, for hidden states on ``like``'s device."""
    if like.device.type == "cpu":
        return _by_length(lengths)
    kernel = varlen() if like.dtype in (torch.float16, torch.bfloat16) else None
    return _padded(lengths, like.device) if kernel is None else _unpadded(lengths, like, kernel)


@functools.cache
def varlen() -> Any:
    """Torch's attention for sequences of any lengths (since 2.10), None where it has none."""
    try:
        return importlib.import_module("torch.nn.attention.varlen").varlen_attn
    except (ImportError, AttributeError):
        return None


def _by_length(lengths: Sequence[int]) -> Attend:
    groups = [(len(list(equal)), length) for length, equal in groupby(lengths)]
    sizes = [texts * length for texts, length in groups]

    def attend(qkv: torch.Tensor) -> torch.Tensor:
        attended = []
        for group, states in zip(groups, qkv.split(sizes), strict=True):
            # (3, texts, heads, length, width of a head)
            q, k, v = states.unflatten(0, group).permute(2, 0, 3, 1, 4)
            out = scaled_dot_product_attention(q, k, v)
            attended.append(out.transpose(1, 2).reshape(len(states), -1))
        return torch.cat(attended)

    return attend


def _unpadded(lengths: Sequence[int], like: torch.Tensor, kernel: Any) -> Attend:
    ends = torch.tensor([0, *lengths]).cumsum(0).to(like.device, torch.int32)
    longest = max(lengths)

    def attend(qkv: torch.Tensor) -> torch.Tensor:
        q, k, v = qkv.unbind(1)
        out: torch.Tensor = kernel(q, k, v, ends, ends, longest, longest)
        return out.flatten(1)

    return attend


def _padded(lengths: Sequence[int], device: torch.device) -> Attend:
    sizes = torch.tensor(lengths)
    real = (torch.arange(max(lengths)) < sizes[:, None]).to(device)  # (texts, longest)
    where = real.flatten().nonzero()[:, 0]

    def attend(qkv: torch.Tensor) -> torch.Tensor:
        spread = qkv.new_zeros(real.numel(), *qkv.shape[1:]).index_copy(0, where, qkv)
        q, k, v = spread.unflatten(0, real.shape).permute(2, 0, 3, 1, 4)
        out = scaled_dot_product_attention(q, k, v, attn_mask=real[:, None, None, :])
        return out.transpose(1, 2).flatten(0, 1).flatten(1)[where]

    return attend

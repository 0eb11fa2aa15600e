"""Attention of sequences in one row: each by itself, and no padding between them.

On a GPU in half precision one kernel does it, FlashAttention for sequences of several lengths,
through ``torch.nn.attention.varlen`` (torch 2.10 and later). Elsewhere they are padded for
attention alone: queries, keys and values, and nothing else of the run.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from inspect import signature
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

try:
    from torch.nn.attention.varlen import varlen_attn
except ImportError:  # torch before 2.10
    varlen_attn = None

_CAPABILITY = (8, 0)  # Ampere: older GPUs lack the instructions that the kernel is made of
_WIDEST, _STEP = 256, 8  # of a head, in numbers; and what its width must be a multiple of


@cache
def suits(device: torch.device, dtype: torch.dtype, width: int = 64) -> bool:
    """Whether the kernel computes attention there.

    Args:
        device: where the tensors are.
        dtype: of the tensors; it knows float16 and bfloat16 only.
        width: of a head.
    """
    return (
        varlen_attn is not None
        and device.type == "cuda"
        and dtype in (torch.float16, torch.bfloat16)
        and width <= _WIDEST
        and width % _STEP == 0
        and torch.backends.cuda.is_flash_attention_available()
        and torch.cuda.get_device_capability(device) >= _CAPABILITY
    )


@dataclass(frozen=True)
class Packed:
    """Where the sequences of a row lie.

    Attributes:
        queries: where the queries of each begin, and where the last ends: int32, on the device of
            the tensors, of shape (sequences + 1,), from 0 to all. What no sequence covers is
            undefined.
        longest: the queries of the longest.
        keys, longest_keys: the same of keys and values; None = as the queries.
        causal: whether a query sees no key behind it; the last query is beside the last key.
        scale: of the scores; None = by the width of a head.
    """

    queries: torch.Tensor
    longest: int
    keys: torch.Tensor | None = None
    longest_keys: int | None = None
    causal: bool = False
    scale: float | None = None

    @property
    def of_keys(self) -> tuple[torch.Tensor, int]:
        """Where keys begin, and how many the longest sequence has."""
        if self.keys is None or self.longest_keys is None:
            return self.queries, self.longest
        return self.keys, self.longest_keys


def knows_causal() -> bool:
    """Whether this torch's kernel has what a causal model of fewer keys than queries wants."""
    wanted = {"window_size", "enable_gqa", "scale"}
    return varlen_attn is not None and wanted <= signature(varlen_attn).parameters.keys()


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, packed: Packed) -> torch.Tensor:
    """Attention in which every query sees the keys of its own sequence, and nothing else.

    Args:
        q: queries, shape (tokens, heads, width of a head). Views of a larger tensor will do, as
            long as the numbers of a head lie side by side.
        k: keys; fewer heads, perhaps, each for several of the queries'.
        v: values, as the keys.
        packed: whose they are.

    Returns:
        Shape (tokens, heads, width of a head), of the queries.
    """
    if not suits(q.device, q.dtype, q.shape[-1]):
        return padded(q, k, v, packed)
    begins, longest = packed.of_keys
    more: dict[str, Any] = {}  # what not every version of torch knows, where it is wanted
    if packed.causal:
        more["window_size"] = (-1, 0)
    if packed.scale is not None:
        more["scale"] = packed.scale
    if q.shape[1] != k.shape[1]:
        more["enable_gqa"] = True
    out: torch.Tensor = varlen_attn(
        q, k, v, packed.queries, begins, packed.longest, longest, **more
    )
    return out


def padded(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, packed: Packed) -> torch.Tensor:
    """The same in rectangles of shape (sequences, heads, longest, width)."""
    begins, longest = packed.of_keys
    mine, theirs = packed.queries.diff()[:, None], begins.diff()[:, None]
    asks = torch.arange(packed.longest, device=q.device) < mine
    key_places = torch.arange(longest, device=q.device)
    known = key_places < theirs
    mask = known[:, None, None]
    if packed.causal:
        places = torch.arange(packed.longest, device=q.device) + theirs - mine
        mask = mask & (key_places <= places[..., None])[:, None]

    def rectangle(row: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        filled = row.new_zeros(*real.shape, *row.shape[1:])
        filled[real] = row
        return filled.transpose(1, 2)

    out = scaled_dot_product_attention(
        rectangle(q, asks),
        rectangle(k, known),
        rectangle(v, known),
        attn_mask=mask,
        scale=packed.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    attended: torch.Tensor = out.transpose(1, 2)[asks]
    return attended

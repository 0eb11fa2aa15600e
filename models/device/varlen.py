"""Attention over sequences that are packed in one row without padding.

On a GPU in half precision this is one kernel, FlashAttention for sequences of different lengths,
through ``torch.nn.attention.varlen`` (torch 2.10 and later). Elsewhere the sequences are padded,
but for attention only: queries, keys and values, and nothing else of the run.
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

_CAPABILITY = (8, 0)  # Ampere: older GPUs lack instructions that the kernel needs
_WIDEST, _STEP = 256, 8  # the largest head width, and the number that a width must be a multiple of


@cache
def suits(device: torch.device, dtype: torch.dtype, width: int = 64) -> bool:
    """Whether the FlashAttention kernel supports these tensors.

    Args:
        device: the tensors' device.
        dtype: the tensors' type; the kernel supports float16 and bfloat16 only.
        width: the width of a head.
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
    """The positions of the sequences in a row.

    Attributes:
        queries: where each sequence's queries begin, and where the last sequence ends: int32, on
            the tensors' device, shape (sequences + 1,), from 0 to the number of queries. The output
            of rows that no sequence covers is undefined.
        longest: the number of queries of the longest sequence.
        keys, longest_keys: the same for keys and values; None = as for the queries.
        causal: whether a query sees only the keys up to its own position; a sequence's last query
            has the position of its last key.
        scale: factor of the scores; None = derived from the width of a head.
    """

    queries: torch.Tensor
    longest: int
    keys: torch.Tensor | None = None
    longest_keys: int | None = None
    causal: bool = False
    scale: float | None = None

    @property
    def of_keys(self) -> tuple[torch.Tensor, int]:
        """Where each sequence's keys begin, and the number of keys of the longest sequence."""
        if self.keys is None or self.longest_keys is None:
            return self.queries, self.longest
        return self.keys, self.longest_keys


def knows_causal() -> bool:
    """Whether the kernel supports causal models with fewer key heads than query heads."""
    wanted = {"window_size", "enable_gqa", "scale"}
    return varlen_attn is not None and wanted <= signature(varlen_attn).parameters.keys()


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, packed: Packed) -> torch.Tensor:
    """Compute attention in which a query sees only the keys of its own sequence.

    Args:
        q: queries, shape (tokens, heads, width of a head). They may be views of a larger tensor, if
            the numbers of a head are contiguous.
        k: keys; they may have fewer heads, each shared by several heads of the queries.
        v: values, shaped like the keys.
        packed: the positions of the sequences.

    Returns:
        The shape of the queries: (tokens, heads, width of a head).
    """
    if not suits(q.device, q.dtype, q.shape[-1]):
        return padded(q, k, v, packed)
    begins, longest = packed.of_keys
    more: dict[str, Any] = {}  # newer options, passed only if needed: older torch lacks them
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
    """Compute the same with sequences padded to shape (sequences, heads, longest, width)."""
    begins, longest = packed.of_keys
    query_counts, key_counts = packed.queries.diff()[:, None], begins.diff()[:, None]
    real_queries = torch.arange(packed.longest, device=q.device) < query_counts
    key_places = torch.arange(longest, device=q.device)
    real_keys = key_places < key_counts
    mask = real_keys[:, None, None]
    if packed.causal:
        places = torch.arange(packed.longest, device=q.device) + key_counts - query_counts
        mask = mask & (key_places <= places[..., None])[:, None]

    def rectangle(row: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
        filled = row.new_zeros(*real.shape, *row.shape[1:])
        filled[real] = row
        return filled.transpose(1, 2)

    out = scaled_dot_product_attention(
        rectangle(q, real_queries),
        rectangle(k, real_keys),
        rectangle(v, real_keys),
        attn_mask=mask,
        scale=packed.scale,
        enable_gqa=q.shape[1] != k.shape[1],
    )
    attended: torch.Tensor = out.transpose(1, 2)[real_queries]
    return attended

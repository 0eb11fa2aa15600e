"""Attention of packed texts: each text by itself, and no padding between them.

On a GPU in half precision one kernel does it, FlashAttention for texts of several lengths, through
``torch.nn.attention.varlen`` (torch 2.10 and later). Elsewhere the texts are padded for attention
alone: queries, keys and values, and nothing else of the run.
"""

from __future__ import annotations

from functools import cache

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


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_seqlens: torch.Tensor, max_len: int
) -> torch.Tensor:
    """Attention in which every token of a text sees all of that text, and nothing else.

    Args:
        q: queries, shape (tokens, heads, width of a head); ``k`` and ``v`` likewise. Views of one
            tensor will do, as long as the numbers of a head lie side by side.
        k: keys.
        v: values.
        cu_seqlens: where each text begins, and where the last ends: int32, on the same device, of
            shape (texts + 1,), from 0 to ``tokens``. What no text covers is undefined.
        max_len: the tokens of the longest text.

    Returns:
        Shape (tokens, heads, width of a head).
    """
    if suits(q.device, q.dtype, q.shape[-1]):
        out: torch.Tensor = varlen_attn(q, k, v, cu_seqlens, cu_seqlens, max_len, max_len)
        return out
    return _padded(q, k, v, cu_seqlens, max_len)


def _padded(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, cu_seqlens: torch.Tensor, max_len: int
) -> torch.Tensor:
    """The same in a rectangle of shape (texts, heads, max_len, width)."""
    lengths = cu_seqlens.diff()
    real = torch.arange(max_len, device=q.device) < lengths[:, None]

    def rectangle(packed: torch.Tensor) -> torch.Tensor:
        filled = packed.new_zeros(len(lengths), max_len, *packed.shape[1:])
        filled[real] = packed
        return filled.transpose(1, 2)

    mask = real[:, None, None]
    out = scaled_dot_product_attention(rectangle(q), rectangle(k), rectangle(v), attn_mask=mask)
    packed: torch.Tensor = out.transpose(1, 2)[real]
    return packed

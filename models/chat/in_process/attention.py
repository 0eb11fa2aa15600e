"""Attention over a paged cache: each sequence by itself.

The library lays all sequences of a step side by side and masks what is not a token's own, so that
the work grows with the square of their number. Here each attends to its own stretch of the keys: on
a GPU in one kernel (``models.device.varlen``), on a CPU one sequence after the other.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

NAME = "quartet_each_by_itself"


def register() -> str:
    """Make it known to transformers; returns the name of the implementation."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attend)
    return NAME


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    dropout: float = 0.0,
    scaling: float | None = None,
    *,
    cache: Any,
    cu_seq_lens_q: Any,
    **kwargs: Any,
) -> tuple[Any, None]:
    """Attention of causal sequences that lie behind each other.

    Args:
        module: the layer.
        query: shape (1, heads, tokens, size); ``key`` and ``value`` have fewer heads, perhaps.
        key: of the new tokens; the cache has those before.
        value: as the key.
        attention_mask: none is needed.
        dropout: not at inference.
        scaling: of the scores.
        cache: of the library, which writes what is new and reads what is old.
        cu_seq_lens_q: where the sequences begin, and the last ends.
        kwargs: what the cache wants, among it the same of the keys, and the longest of both.

    Returns:
        The values, shape (1, tokens, heads, size), and no weights.
    """
    import torch

    key, value = cache.update(
        key_states=key, value_states=value, layer_idx=module.layer_idx, kwargs=kwargs
    )
    if query.device.type != "cpu":
        return _at_once(query, key, value, scaling, cu_seq_lens_q, kwargs), None
    groups = query.shape[1] // key.shape[1]
    out = torch.empty_like(query)
    asked, known = cu_seq_lens_q.tolist(), kwargs["cu_seq_lens_k"].tolist()
    for (start, end), (first, last) in zip(pairwise(asked), pairwise(known), strict=True):
        out[:, :, start:end] = _attend_one_sequence(
            query[:, :, start:end], key[:, :, first:last], value[:, :, first:last], scaling, groups
        )
    return out.transpose(1, 2), None


def suits(model: Any) -> bool:
    """Whether the attention of a model on its device is better computed here.

    On a CPU it is; on a GPU where the kernel runs: padded, a long prompt would make all the others
    as long.
    """
    from models.device import varlen

    if model.device.type == "cpu":
        return True
    config = model.config.get_text_config()
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return varlen.knows_causal() and varlen.suits(model.device, model.dtype, width)


def _at_once(
    query: Any, key: Any, value: Any, scaling: float | None, begins: Any, cached: dict[str, Any]
) -> Any:
    """Of all sequences; shape (1, tokens, heads, size)."""
    from models.device import varlen

    packed = varlen.Packed(
        begins, int(cached["max_length_q"]), _only(cached["cu_seq_lens_k"]),
        int(_only(cached["max_length_k"])), causal=True, scale=scaling,
    )  # fmt: skip
    q, k, v = (one[0].transpose(0, 1) for one in (query, key, value))
    return varlen.attend(q, k, v, packed)[None]


def _only(value: Any) -> Any:
    """The library has one for each kind of layer, of which there is one here."""
    if not isinstance(value, dict):
        return value
    [found] = value.values()
    return found


def _attend_one_sequence(
    query: Any, key: Any, value: Any, scaling: float | None, groups: int
) -> Any:
    """Of one sequence, whose new tokens are its last."""
    import torch.nn.functional as nn

    _, heads, new, size = query.shape
    if new == 1:  # the heads that share a key are as well several tokens that see all
        packed = query.reshape(1, heads // groups, groups, size)
        return nn.scaled_dot_product_attention(packed, key, value, scale=scaling).reshape(
            query.shape
        )
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    length = key.shape[2]
    mask = None if length == new else _seen(new, length)
    return nn.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling
    )


@lru_cache(maxsize=8)
def _seen(new: int, length: int) -> Any:
    """Which tokens the last ``new`` of a sequence see, shape (new, length)."""
    import torch

    return torch.ones(new, length, dtype=torch.bool).tril(length - new)

"""Attention over a paged cache, for each sequence separately.

The library concatenates all sequences of a step and masks the tokens of other sequences, so that
the work grows with the square of their number. Here each sequence attends to its own keys only: on
a GPU in one kernel (``models.device.varlen``), on a CPU one sequence after the other.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

NAME = "quartet_each_by_itself"


def register() -> str:
    """Register the implementation with transformers; return its name."""
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
    """Compute causal attention over concatenated sequences.

    Args:
        module: the layer.
        query: shape (1, heads, tokens, size); ``key`` and ``value`` may have fewer heads.
        key: the keys of the new tokens; the cache has the earlier ones.
        value: the values of the new tokens.
        attention_mask: unused.
        dropout: unused.
        scaling: factor of the scores.
        cache: the library's cache, which stores the new keys and returns all of them.
        cu_seq_lens_q: where each sequence begins, and where the last ends.
        kwargs: arguments of the cache, including the key positions and the longest lengths.

    Returns:
        The values, shape (1, tokens, heads, size), and None for the weights.
    """
    import torch

    key, value = cache.update(
        key_states=key, value_states=value, layer_idx=module.layer_idx, kwargs=kwargs
    )
    if query.device.type != "cpu":
        return _at_once(query, key, value, scaling, cu_seq_lens_q, kwargs), None
    groups = query.shape[1] // key.shape[1]
    out = torch.empty_like(query)
    query_edges, key_edges = cu_seq_lens_q.tolist(), kwargs["cu_seq_lens_k"].tolist()
    edges = zip(pairwise(query_edges), pairwise(key_edges), strict=True)
    for (start, end), (first, last) in edges:
        out[:, :, start:end] = _attend_one_sequence(
            query[:, :, start:end], key[:, :, first:last], value[:, :, first:last], scaling, groups
        )
    return out.transpose(1, 2), None


def suits(model: Any) -> bool:
    """Whether this implementation is better than the library's for a model on its device.

    On a CPU it is. On a GPU it is if the kernel runs; with padding, one long prompt would make all
    other sequences as long.
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
    """Compute attention for all sequences at once; shape (1, tokens, heads, size)."""
    from models.device import varlen

    packed = varlen.Packed(
        begins, int(cached["max_length_q"]), _only(cached["cu_seq_lens_k"]),
        int(_only(cached["max_length_k"])), causal=True, scale=scaling,
    )  # fmt: skip
    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    return varlen.attend(q, k, v, packed)[None]


def _only(value: Any) -> Any:
    """Return the value for the only kind of layer; the library has one per kind."""
    if not isinstance(value, dict):
        return value
    [only] = value.values()
    return only


def _attend_one_sequence(
    query: Any, key: Any, value: Any, scaling: float | None, groups: int
) -> Any:
    """Compute attention for one sequence, whose new tokens are its last."""
    import torch.nn.functional as nn

    _, heads, new, size = query.shape
    if new == 1:  # heads that share a key can be treated as several tokens that see all keys
        packed = query.reshape(1, heads // groups, groups, size)
        return nn.scaled_dot_product_attention(packed, key, value, scale=scaling).reshape(
            query.shape
        )
    if groups > 1:
        key, value = (tensor.repeat_interleave(groups, dim=1) for tensor in (key, value))
    length = key.shape[2]
    mask = None if length == new else _causal_mask(new, length)
    return nn.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, is_causal=mask is None, scale=scaling
    )


@lru_cache(maxsize=8)
def _causal_mask(new: int, length: int) -> Any:
    """Return which tokens the last ``new`` of a sequence see, shape (new, length)."""
    import torch

    return torch.ones(new, length, dtype=torch.bool).tril(length - new)

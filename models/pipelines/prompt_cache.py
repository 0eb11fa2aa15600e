"""A cache of prompt embeddings."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

_KEPT_BYTES = 1 << 27


class PromptCache:
    """Replaces a pipeline's ``encode_prompt`` and encodes each prompt by itself, once.

    So a prompt has the same embedding in a batch and alone. The least recently used embeddings are
    evicted when all of them together exceed ``kept_bytes``.

    Attributes:
        marked: part of the key: what else embeddings depend on, such as LoRA adapters.
    """

    def __init__(self, encode: Any, kept_bytes: int = _KEPT_BYTES) -> None:
        self.marked: Hashable = None
        self._encode = encode
        self._kept_bytes = kept_bytes
        self._signature = inspect.signature(encode)
        self._kept: OrderedDict[Hashable, tuple[Any, ...]] = OrderedDict()
        self._bytes = 0

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """Encode a list of prompts, with ``encode_prompt``'s arguments and results."""
        given = self._signature.bind(*args, **kwargs).arguments
        prompts = {name: value for name, value in given.items() if isinstance(value, list)}
        if not prompts or any("embeds" in name for name in prompts):
            encoded: tuple[Any, ...] = self._encode(*args, **kwargs)
            return encoded
        rest = {name: value for name, value in given.items() if name not in prompts}
        rows = zip(*prompts.values(), strict=True)
        return _joined([self._encoded(dict(zip(prompts, row, strict=True)), rest) for row in rows])

    def _encoded(self, prompts: Mapping[str, str], rest: Mapping[str, Any]) -> tuple[Any, ...]:
        key = (self.marked, *prompts.items(), *((name, str(value)) for name, value in rest.items()))
        if key not in self._kept:
            # Some pipelines write their template into the list, so each call gets its own.
            lists = {name: [prompt] for name, prompt in prompts.items()}
            self._kept[key] = self._encode(**lists, **rest)
            self._bytes += _bytes(self._kept[key])
        self._kept.move_to_end(key)
        embeddings = self._kept[key]
        while self._bytes > self._kept_bytes:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])
        return embeddings


def _joined(encoded: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Join the results of several calls into the result of a single call."""
    import torch

    joined: list[Any] = []
    for parts in zip(*_evened(encoded), strict=True):
        first = parts[0]
        if isinstance(first, list):
            joined.append([value for part in parts for value in part])
        elif first is None or len(parts) == 1 or first.shape[0] != 1:
            joined.append(first)  # equal for all prompts, such as positions
        else:
            joined.append(torch.cat(parts))
    return tuple(joined)


def _evened(encoded: Sequence[tuple[Any, ...]]) -> Sequence[tuple[Any, ...]]:
    """Return embeddings of equal length, with masks: of those that have a mask if need be."""
    import torch

    firsts = [parts[0] for parts in encoded]
    if not all(isinstance(first, torch.Tensor) and first.ndim == 3 for first in firsts):
        return encoded
    longest = max(first.shape[1] for first in firsts)
    if all(first.shape[1] == longest for first in firsts):
        return encoded
    made = []
    for first, mask, *rest in encoded:
        known = first.new_ones(first.shape[:2], dtype=torch.long) if mask is None else mask
        left = longest - first.shape[1]
        padded = torch.nn.functional.pad(first, (0, 0, 0, left))
        made.append((padded, torch.nn.functional.pad(known, (0, left)), *rest))
    return made


def _bytes(encoded: Sequence[Any]) -> int:
    tensors = [value for part in encoded for value in (part if isinstance(part, list) else [part])]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)

"""Embeddings of prompts, kept: the same words again cost nothing."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

_KEPT_BYTES = 1 << 27


class PromptCache:
    """Stands in for a pipeline's ``encode_prompt``, and has it encode each prompt by itself, once.

    A prompt among others so has the embedding that it has alone. The least recently used ones go
    when all of them have more than ``_KEPT_BYTES``.

    Attributes:
        marked: what else the embeddings depend on: adapters change encoders, too.
    """

    def __init__(self, encode: Any) -> None:
        self.marked: Hashable = None
        self._encode = encode
        self._signature = inspect.signature(encode)
        self._kept: OrderedDict[Hashable, tuple[Any, ...]] = OrderedDict()
        self._bytes = 0

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """As ``encode_prompt``, of a list of prompts."""
        given = self._signature.bind(*args, **kwargs).arguments
        words = {name: one for name, one in given.items() if isinstance(one, list)}
        if not words or any("embeds" in name for name in words):
            encoded: tuple[Any, ...] = self._encode(*args, **kwargs)
            return encoded
        rest = {name: one for name, one in given.items() if name not in words}
        rows = zip(*words.values(), strict=True)
        return _joined([self._one(dict(zip(words, row, strict=True)), rest) for row in rows])

    def _one(self, words: Mapping[str, str], rest: Mapping[str, Any]) -> tuple[Any, ...]:
        key = (self.marked, *words.items(), *((name, str(one)) for name, one in rest.items()))
        if key not in self._kept:
            # Lists: some pipelines write their template into them.
            self._kept[key] = self._encode(**{name: [one] for name, one in words.items()}, **rest)
            self._bytes += _bytes(self._kept[key])
        self._kept.move_to_end(key)
        found = self._kept[key]
        while self._bytes > _KEPT_BYTES:
            self._bytes -= _bytes(self._kept.popitem(last=False)[1])
        return found


def _joined(encoded: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """What each of several calls returned, as one call would."""
    import torch

    joined: list[Any] = []
    for parts in zip(*encoded, strict=True):
        first = parts[0]
        if isinstance(first, list):
            joined.append([one for part in parts for one in part])
        elif first is None or len(parts) == 1 or first.shape[0] != 1:
            joined.append(first)  # one that is the same for all, such as positions
        else:
            joined.append(torch.cat(parts))
    return tuple(joined)


def _bytes(encoded: Sequence[Any]) -> int:
    flat = [one for part in encoded for one in (part if isinstance(part, list) else [part])]
    return sum(one.nbytes for one in flat if one is not None)

"""A cache of its own for each choice, for models that see.

The library's paged cache knows neither pictures nor positions in a picture. Here each choice has
the library's plain cache, and a step runs the model once for each: the prompt of one that is new,
and the last token of every other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from models.chat.admission import Admission
from models.chat.sight import Sight

# Chooses the next token of each choice, by their names, from scores of shape (choices, vocabulary).
Choose = Callable[[Sequence[str], Any], Sequence[int]]


@dataclass
class _Sequence:
    """One choice in the cache, or on its way into it.

    Attributes:
        size: the tokens that it may come to.
        cache: the library's, None before the prompt is read.
        length: the tokens in the cache.
        shift: how far positions run ahead of the tokens' places, for its pictures.
        last: the token that was chosen last, which the cache does not have yet; None before one is.
    """

    name: str
    item: Admission
    size: int
    cache: Any = None
    length: int = 0
    shift: int = 0
    last: int | None = None


class Unpaged:
    """A model that sees, and the choices that it works on.

    Args:
        model: of transformers, on its device; a Qwen-VL of any generation.
        sight: the model's.
        cache_tokens: how many tokens all choices may have together.
        choose: called in every step.
    """

    def __init__(self, model: Any, sight: Sight, cache_tokens: int, choose: Choose) -> None:
        self.size = cache_tokens
        self._model, self._sight, self._choose = model, sight, choose
        self._waiting: deque[_Sequence] = deque()
        self._going: dict[str, _Sequence] = {}

    def largest(self) -> int:
        """The tokens of the longest request that fits into the empty cache."""
        return self.size

    def held(self) -> float:
        """The share of the cache that choices hold."""
        return self._taken / self.size

    def add(self, name: str, item: Admission, ends: Iterable[int]) -> None:
        """Let a choice in; it waits for room, the oldest first. Who chooses looks at the ends."""
        self._waiting.append(_Sequence(name, item, item.length + item.limit))

    def remove(self, names: Iterable[str]) -> None:
        """Let go of choices."""
        gone = set(names)
        self._waiting = deque(sequence for sequence in self._waiting if sequence.name not in gone)
        for name in gone:
            self.forget(name)

    def forget(self, name: str) -> None:
        """A choice has ended by itself."""
        self._going.pop(name, None)

    def hits(self, name: str) -> int:
        """How many of a choice's first tokens were in a cache already: none."""
        return 0

    def step(self) -> None:
        """Read the next prompt that there is room for, and one token of every other choice."""
        import torch

        with torch.inference_mode():
            advanced = list(self._going.values())
            rows = [self._advanced(sequence) for sequence in advanced]
            for sequence in self._next():
                rows.append(self._read(sequence))
                self._going[self._waiting.popleft().name] = sequence
            if not rows:
                return
            chosen = self._choose(list(self._going), torch.cat(rows).float())
        for sequence in advanced:
            sequence.length += 1
        for sequence, token in zip(self._going.values(), chosen, strict=True):
            sequence.last = token

    def restart(self) -> None:
        """After a step that failed: forget what it has read."""
        unread = [sequence for sequence in self._going.values() if sequence.last is None]
        for sequence in unread:
            del self._going[sequence.name]
            sequence.cache = None
        self._waiting.extendleft(unread)
        for sequence in self._going.values():
            for layer in sequence.cache.layers:  # the step may have reached some of them
                if (further := layer.get_seq_length() - sequence.length) > 0:
                    layer.crop(-further)

    def close(self) -> None:
        """Let go of the model and the caches."""
        self._going.clear()
        self._waiting.clear()
        del self._model

    @property
    def _taken(self) -> int:
        return sum(sequence.size for sequence in self._going.values())

    def _next(self) -> Iterator[_Sequence]:
        """Yield the oldest that waits, where there is room for it."""
        if self._waiting:
            sequence = self._waiting[0]
            if not self._going or self._taken + sequence.size <= self.size:
                yield sequence

    def _read(self, sequence: _Sequence) -> Any:
        """Read a prompt; returns scores of shape (1, vocabulary)."""
        import torch
        from transformers import DynamicCache

        seen = sequence.item.sighted
        tokens = sequence.item.prompt.tokens
        more: dict[str, Any] = {}
        if seen is not None:
            tokens = tuple(self._sight.expanded(tokens, seen.counts))
            given = self._sight.inputs(seen.pictures)
            more = {name: value.to(self._model.device) for name, value in given.items()}
            more["pixel_values"] = more["pixel_values"].to(self._model.dtype)
        ids = torch.tensor([tokens], device=self._model.device)
        places = torch.arange(len(tokens), device=ids.device).expand(1, 1, -1)
        positions, shift = places.expand(3, 1, -1), 0
        if seen is not None:
            more["mm_token_type_ids"] = (ids == self._sight.mark).int()
            positions, shifts = self._model.model.get_rope_index(
                ids,
                image_grid_thw=more["image_grid_thw"],
                mm_token_type_ids=more["mm_token_type_ids"],
            )
            shift = int(shifts[0, 0])
        cache = DynamicCache(config=self._model.config)
        scores = self._scores(ids, torch.cat([places, positions]), cache, more)
        sequence.cache, sequence.length, sequence.shift = cache, len(tokens), shift
        return scores

    def _advanced(self, sequence: _Sequence) -> Any:
        """Read the last token of a choice; returns scores of shape (1, vocabulary)."""
        import torch

        ids = torch.tensor([[sequence.last]], device=self._model.device)
        place, shifted = sequence.length, sequence.length + sequence.shift
        positions = torch.tensor([place, shifted, shifted, shifted], device=ids.device)
        return self._scores(ids, positions.view(4, 1, 1), sequence.cache, {})

    def _scores(self, ids: Any, positions: Any, cache: Any, more: dict[str, Any]) -> Any:
        outputs = self._model(
            input_ids=ids,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
            **more,
        )
        return outputs.logits[:, -1]

"""LoRA adapters of a compiled model: a new adapter's weights overwrite those of the last.

torch's compiler guards on the names, shapes and scales of a model's parameters. It recompiles when
one of them changes, and gives up after a few times. So adapters are loaded into slots with fixed
names and a common rank, and their scales are multiplied into their weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.images.diffusion.lora import PAIRS, Adapters
from models.images.request import Adapter
from models.loading import alone

log = logging.getLogger(__name__)

_RANK = 128  # of a slot; adapters of lower rank are padded with zeros


class HotSwap(Adapters):
    """The adapters of a compiled pipeline; arguments are those of ``Adapters``."""

    def __init__(self, pipeline: Any, slug: str, kept_bytes: int) -> None:
        super().__init__(pipeline, slug, kept_bytes)
        self._held: dict[str, tuple[str, float]] = {}  # an adapter's name and scale, by slot

    @contextmanager
    def on(self, adapters: Sequence[Adapter]) -> Iterator[None]:
        """Switch adapters on in the block; see ``Adapters``."""
        if not adapters:
            yield
            return
        try:
            slots = [
                self._place(f"slot_{number}", adapter) for number, adapter in enumerate(adapters)
            ]
            if any(slot not in self._held for slot in slots):  # a later adapter cleared them
                slots = [
                    self._place(slot, adapter)
                    for slot, adapter in zip(slots, adapters, strict=True)
                ]
            self._pipeline.enable_lora()
            self._pipeline.set_adapters(slots, [1.0] * len(slots))
            yield
        finally:
            if self._held:
                self._pipeline.disable_lora()

    def _place(self, slot: str, adapter: Adapter) -> str:
        """Load an adapter into a slot; if its layers differ from the slot's, clear all first."""
        key = (adapter.name, adapter.scale)
        if self._held.get(slot) == key:
            return slot
        _, pairs, alphas = self._checked(adapter)
        weights = _with_slot_rank(pairs, alphas, adapter.scale)
        if slot in self._held:
            try:
                with alone():
                    self._pipeline.load_lora_weights(weights, adapter_name=slot, hotswap=True)
                self._held[slot] = key
                return slot
            except (KeyError, RuntimeError, ValueError):
                log.info("%s has other layers: what was compiled is compiled again", adapter.param)
                self._clear()
        self._load(weights, slot, adapter)
        self._held[slot] = key
        return slot

    def _clear(self) -> None:
        super()._clear()
        self._held.clear()


def _with_slot_rank(pairs: dict[str, Any], alphas: dict[str, Any], scale: float) -> dict[str, Any]:
    """Pad pairs of matrices to the rank of a slot, and multiply the scale into them."""
    import torch

    padded = {}
    for name, down in pairs.items():
        end = next((suffix for suffix in PAIRS if name.endswith(suffix)), None)
        if end is None:
            continue
        path = name.removesuffix(end)
        up, rank = pairs[path + PAIRS[end]], len(down)
        factor = scale * float(alphas.get(f"{path}.alpha", rank)) / rank
        more = max(0, _RANK - rank)
        rest = [0, 0] * (down.ndim - 1)
        padded[name] = torch.nn.functional.pad(down, [*rest, 0, more])
        padded[path + PAIRS[end]] = torch.nn.functional.pad(up * factor, [*rest[2:], 0, more])
    return padded

"""LoRA adapters of a compiled model: another one's numbers are written where the last one's were.

torch's compiler looks at the names, shapes and scales of what a model holds, compiles anew where
one differs, and gives up after some of them. So adapters are put into slots of fixed names, all of
one rank, and their scales are multiplied into their weights.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from models.images.diffusion.lora import PAIRS, Adapters
from models.images.request import Adapter

log = logging.getLogger(__name__)

_RANK = 128  # of a slot; a smaller one's is filled up with zeros


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
            slots = [self._place(f"slot_{number}", one) for number, one in enumerate(adapters)]
            if any(slot not in self._held for slot in slots):  # a later one had to clear them
                slots = [self._place(slot, one) for slot, one in zip(slots, adapters, strict=True)]
            self._pipeline.enable_lora()
            self._pipeline.set_adapters(slots, [1.0] * len(slots))
            yield
        finally:
            if self._held:
                self._pipeline.disable_lora()

    def _place(self, slot: str, adapter: Adapter) -> str:
        """Put an adapter into a slot; if its layers differ from the slot's, empty all first."""
        wanted = (adapter.name, adapter.scale)
        if self._held.get(slot) == wanted:
            return slot
        _, pairs, alphas = self._known(adapter)
        weights = _of_one_rank(pairs, alphas, adapter.scale)
        if slot in self._held:
            try:
                self._pipeline.load_lora_weights(weights, adapter_name=slot, hotswap=True)
                self._held[slot] = wanted
                return slot
            except (KeyError, RuntimeError, ValueError):
                log.info("%s has other layers: what was compiled is compiled again", adapter.param)
                self._clear()
        try:
            with warnings.catch_warnings():  # peft's, of every adapter beside another
                warnings.simplefilter("ignore", UserWarning)
                self._pipeline.load_lora_weights(weights, adapter_name=slot)
        except (KeyError, RuntimeError, ValueError) as error:
            self._clear()
            raise self._unfit(adapter) from error
        self._held[slot] = wanted
        return slot

    def _clear(self) -> None:
        self._pipeline.unload_lora_weights()
        self._held.clear()


def _of_one_rank(pairs: dict[str, Any], alphas: dict[str, Any], scale: float) -> dict[str, Any]:
    """Pairs of matrices of the rank of a slot, which count for as much without a scale."""
    import torch

    made = {}
    for name, down in pairs.items():
        end = next((one for one in PAIRS if name.endswith(one)), None)
        if end is None:
            continue
        path = name.removesuffix(end)
        up, rank = pairs[path + PAIRS[end]], len(down)
        factor = scale * float(alphas.get(f"{path}.alpha", rank)) / rank
        more = max(0, _RANK - rank)
        rest = [0, 0] * (down.ndim - 1)
        made[name] = torch.nn.functional.pad(down, [*rest, 0, more])
        made[path + PAIRS[end]] = torch.nn.functional.pad(up * factor, [*rest[2:], 0, more])
    return made

"""Checks of a LoRA adapter that a request brings, before a model touches it.

An adapter that does not fit may end an engine's process, and with it every other request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.chat.request import Adapter
from models.errors import InvalidValue, WeightsUnavailable, shorten
from models.weights.header import Tensor, check_adapter_header, read_header

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_MOST_CONFIG_BYTES = 1_000_000
_MOST_TENSORS = 50_000
_NAME = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<end>[AB])\.weight")
_PLAIN = frozenset({"F16", "BF16", "F32"})  # numbers that are not packed, whose shapes say all
# What no engine here computes, and the value without effect.
_REFUSED: Mapping[str, tuple[Any, ...]] = {
    "use_dora": (False,),
    "bias": ("none",),
    "lora_bias": (False,),
    "modules_to_save": ([],),
    "rank_pattern": ({},),
    "alpha_pattern": ({},),
    "fan_in_fan_out": (False,),
    "trainable_token_indices": ([], {}),
}


class AdapterCheck:
    """Checks adapters for one model.

    Args:
        folder: of the model's weights.
        slug: the model's, for errors.
        most_rank: the largest rank that its engine holds.
    """

    def __init__(self, folder: Path, slug: str, most_rank: int) -> None:
        self._folder = folder
        self._slug = slug
        self._most_rank = most_rank
        self._base: Mapping[str, Tensor] | None = None

    def check(self, adapter: Adapter) -> None:
        """Check an adapter's configuration, and the name and the shape of each of its tensors.

        Raises:
            InvalidValue: it is none, or does not fit.
        """
        config = config_of_adapter(adapter)
        rank = config.get("r")
        if config.get("peft_type") != "LORA" or not isinstance(rank, int) or rank < 1:
            raise _invalid(adapter, f"{CONFIG} is not that of a LoRA adapter in peft's form")
        if rank > self._most_rank:
            raise _invalid(
                adapter,
                f"its rank is {rank}, and at most {self._most_rank} is held (CHAT_LORA_RANK)",
            )
        for name, neutral in _REFUSED.items():
            if config.get(name) is not None and config[name] not in neutral:
                raise _invalid(adapter, f"{name} of its {CONFIG} is not supported")
        try:
            check_adapter_header(adapter.folder / WEIGHTS)
            tensors = read_header(adapter.folder / WEIGHTS).tensors
        except WeightsUnavailable as error:
            raise _invalid(adapter, shorten(error.message.rstrip("."), 200)) from None
        if not tensors or len(tensors) > _MOST_TENSORS:
            raise _invalid(adapter, f"it has {len(tensors)} tensors")
        self._check_tensors(adapter, tensors, rank)

    def _check_tensors(self, adapter: Adapter, tensors: Mapping[str, Tensor], rank: int) -> None:
        for name, tensor in tensors.items():
            match = _NAME.fullmatch(name)
            if match is None:
                raise _invalid(adapter, f"{shorten(name, 100)} is no part of a LoRA adapter")
            module, end = match["module"], match["end"]
            other = f"base_model.model.{module}.lora_{'B' if end == 'A' else 'A'}.weight"
            if other not in tensors:
                raise _invalid(adapter, f"{shorten(name, 100)} lacks its other half")
            if len(tensor.shape) != 2 or tensor.shape[0 if end == "A" else 1] != rank:
                raise _invalid(adapter, f"{shorten(name, 100)} is not of rank {rank}")
            width = self._width(adapter, module, end)
            got = tensor.shape[1 if end == "A" else 0]
            if width is not None and got != width:
                raise _invalid(
                    adapter, f"{shorten(name, 100)} has the width {got}, and the model {width}"
                )

    def _width(self, adapter: Adapter, module: str, end: str) -> int | None:
        """Return a module's width at one end; None where its packed weights do not say.

        Raises:
            InvalidValue: the model has no such module.
        """
        base = self._modules()
        if not base:
            return None
        weight = base.get(module) or base.get(_tail(module))
        if weight is None:
            raise _invalid(adapter, f"{self._slug} has no module {shorten(module, 100)}")
        if weight.dtype not in _PLAIN or len(weight.shape) != 2:
            return None
        return weight.shape[1 if end == "A" else 0]

    def _modules(self) -> Mapping[str, Tensor]:
        """Return the weights of each module by its name, and by its name from its layer on."""
        if self._base is None:
            found: dict[str, Tensor] = {}
            for file in sorted(self._folder.glob("*.safetensors")):
                for name, tensor in read_header(file).tensors.items():
                    module, _, last = name.rpartition(".")
                    for known in (module, _tail(module)):
                        if last == "weight" or known not in found:
                            found[known] = tensor
            self._base = found
        return self._base


def config_of_adapter(adapter: Adapter) -> dict[str, Any]:
    """Return an adapter's configuration.

    Raises:
        InvalidValue: it is no JSON object.
    """
    file = adapter.folder / CONFIG
    try:
        if file.stat().st_size > _MOST_CONFIG_BYTES:
            raise ValueError
        config = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise _invalid(adapter, f"it has no {CONFIG}, or one that is no JSON object")
    return config


def _tail(module: str) -> str:
    """Return a module's name from its layer on: models that see have several names before it."""
    at = module.find("layers.")
    return module if at < 0 or "visual" in module else module[at:]


def _invalid(adapter: Adapter, reason: str) -> InvalidValue:
    return InvalidValue(
        f"{adapter.param}: the adapter {shorten(adapter.name, 100)} cannot be used: {reason}.",
        param=adapter.param,
        code="lora_invalid",
    )

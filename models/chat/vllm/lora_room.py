"""Room for LoRA adapters, as large as the largest of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from models.chat.share import config_of
from models.errors import ModelLoadFailed
from models.row import Row

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that vLLM has kernels for


def lora_room(row: Row) -> dict[str, Any]:
    """Return vLLM's arguments for the row's adapters, and for those that requests bring.

    Raises:
        ModelLoadFailed: an adapter cannot be held.
    """
    adapters: Mapping[str, Path] = row.options.get("adapters", {})
    brought = int(row.options.get("loras", 0))  # by requests
    if not adapters and not brought:
        return {}
    ranks = [*_adapter_ranks(row.slug, adapters), *([row.options["lora_rank"]] if brought else [])]
    largest = max(ranks)
    rank = next((one for one in _RANKS if one >= largest), None)
    if rank is None:
        raise ModelLoadFailed(
            f"{row.slug}: an adapter has the rank {largest}; vllm holds {_RANKS[-1]} at most."
        )
    # One more place, that stays empty: beside others, the build for a CPU takes a request without
    # an adapter for one of the last place's.
    return {"enable_lora": True, "max_loras": len(adapters) + brought + 1, "max_lora_rank": rank}


def _adapter_ranks(slug: str, adapters: Mapping[str, Path]) -> Iterator[int]:
    for name, folder in adapters.items():
        config = config_of(folder, "adapter_config.json")
        if "r" not in config:
            raise ModelLoadFailed(f"{slug}: {name} is no LoRA adapter in peft's form.")
        yield int(config["r"])

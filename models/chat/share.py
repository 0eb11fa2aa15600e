"""A chat model's share of a GPU's memory, and the part of it for the cache.

``Row.memory_bytes`` determines both: the pool counts it, and the settings set it
(``models.chat.options``). vLLM gets it as its share of the GPU, transformers as the number of
tokens in its cache. No request may be longer than what fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ModelDoesNotFit
from models.row import Row

_BASE_BYTES = 1_250_000_000  # graphs, the libraries' workspaces, fragmentation
_SCORES_BYTES = 16  # per token of the vocabulary and request: scores, their copies, counts
_STATES, _WIDE_STATES, _STATE_BYTES = 8, 3, 2  # per token, while a layer is computed
_DEFAULT_VOCABULARY = 128_256
_LORA_BYTES = 2  # of a number in an adapter


@dataclass(frozen=True)
class Steps:
    """The largest step: its number of tokens, and its number of requests."""

    tokens: int
    requests: int


@dataclass(frozen=True)
class Model:
    """The data that a share is computed from.

    Attributes:
        config: the model's ``config.json``.
        weights_bytes: the weights' size, on all GPUs together.
        dtype_bytes: the size of a number in the cache.
    """

    config: Mapping[str, Any]
    weights_bytes: int
    dtype_bytes: int


@dataclass(frozen=True)
class Share:
    """A chat model's memory on one GPU.

    Attributes:
        total_bytes: the whole share.
        weights_bytes: the weights.
        working_bytes: the memory of the largest step.
        token_bytes: the keys and values of one token; None for an unknown architecture.
    """

    total_bytes: int
    weights_bytes: int
    working_bytes: int
    token_bytes: int | None

    @classmethod
    def of(cls, row: Row, model: Model, steps: Steps, gpus: int = 1) -> Share:
        """Return the share of a row, whose ``memory_bytes`` apply to each GPU.

        Raises:
            ModelDoesNotFit: there is no room for the weights and a step.
        """
        share = cls(
            row.memory_bytes,
            model.weights_bytes // gpus,
            working_bytes(model.config, steps),
            token_bytes(model.config, model.dtype_bytes, gpus),
        )
        if share.left_bytes <= 0:
            needed = share.weights_bytes + share.working_bytes
            raise ModelDoesNotFit(row.slug, needed, share.total_bytes)
        return share

    @property
    def left_bytes(self) -> int:
        """The memory that is left for the cache."""
        return self.total_bytes - self.weights_bytes - self.working_bytes

    @property
    def cache_tokens(self) -> int | None:
        """The size of the cache in tokens; None for an unknown architecture."""
        return None if self.token_bytes is None else self.left_bytes // self.token_bytes

    def fitting(self, tokens: int | None) -> int | None:
        """Return the cache size in tokens: ``tokens``, but at most what fits; None = what fits."""
        known = [limit for limit in (tokens, self.cache_tokens) if limit is not None]
        return min(known, default=None)


def token_bytes(config: Mapping[str, Any], dtype_bytes: int, gpus: int = 1) -> int | None:
    """Return the size of a token's keys and values on one GPU, if the GPUs share the heads."""
    layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
    if not layers or not heads:
        return None
    width = config.get("head_dim") or config["hidden_size"] // heads
    key_heads = config.get("num_key_value_heads") or heads
    return int(2 * layers * max(1, -(-key_heads // gpus)) * width * dtype_bytes)


def working_bytes(config: Mapping[str, Any], steps: Steps) -> int:
    """Return about the memory of the largest step: states of its tokens, scores of its requests."""
    hidden, wide = config.get("hidden_size", 4096), config.get("intermediate_size", 4 * 4096)
    states = steps.tokens * (_STATES * hidden + _WIDE_STATES * wide) * _STATE_BYTES
    scores = steps.requests * config.get("vocab_size", _DEFAULT_VOCABULARY) * _SCORES_BYTES
    return int(_BASE_BYTES + states + scores)


def lora_bytes(config: Mapping[str, Any], count: int, rank: int) -> int:
    """Return the memory of room for LoRA adapters of all projections, on all GPUs together."""
    hidden, wide = config.get("hidden_size", 4096), config.get("intermediate_size", 4 * 4096)
    heads = config.get("num_attention_heads") or 32
    head = config.get("head_dim") or hidden // heads
    keys = (config.get("num_key_value_heads") or heads) * head
    # Of queries and outputs, of keys and values, of the three of the feed-forward layer: both ends.
    ends = 2 * (hidden + heads * head) + 2 * (hidden + keys) + 3 * (hidden + wide)
    return int(count * rank * ends * config.get("num_hidden_layers", 32) * _LORA_BYTES)


def config_of(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The configuration beside the weights; empty where there is none, as beside a GGUF file.

    Of a model that sees, the configuration of its language model is merged into it.
    """
    file = folder / name
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return {**found, **(found.get("text_config") or {})}


def files_bytes(folder: Path) -> int:
    """Return the size of the weights' files."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))

"""What of a GPU's memory is a chat model's, and what of that its cache may take.

One number is the truth: ``Row.memory_bytes``, which the pool counts and the settings decide
(``models.chat.options``). vLLM gets it as its share of the GPU, transformers as the tokens
that its cache may hold, and no request may be longer than what fits.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import ModelDoesNotFit
from models.row import Row

_BASE_BYTES = 1_250_000_000  # graphs, workspaces of the libraries, what an allocator cannot use
_SCORES_BYTES = 16  # a token of the vocabulary and a request: scores, copies of them, counts
_STATES, _WIDE_STATES, _STATE_BYTES = 8, 3, 2  # of a token while a layer is computed
_DEFAULT_VOCABULARY = 128_256


@dataclass(frozen=True)
class Steps:
    """The largest step: how many tokens it reads, of how many requests."""

    tokens: int
    requests: int


@dataclass(frozen=True)
class Model:
    """What a share is reckoned from.

    Attributes:
        config: as transformers writes it.
        weights_bytes: on all GPUs together.
        dtype_bytes: of a number in the cache.
    """

    config: Mapping[str, Any]
    weights_bytes: int
    dtype_bytes: int


@dataclass(frozen=True)
class Share:
    """A chat model's part of one GPU.

    Attributes:
        total_bytes: all of it.
        weights_bytes: what the weights take of it.
        working_bytes: what the largest step does.
        token_bytes: the keys and values of one token; None for a model that is not understood.
    """

    total_bytes: int
    weights_bytes: int
    working_bytes: int
    token_bytes: int | None

    @classmethod
    def of(cls, row: Row, model: Model, steps: Steps, gpus: int = 1) -> Share:
        """The share of a row, whose ``memory_bytes`` are of each of the GPUs.

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
        """For the cache."""
        return self.total_bytes - self.weights_bytes - self.working_bytes

    @property
    def cache_tokens(self) -> int | None:
        """How many tokens the cache may hold; None for a model that is not understood."""
        return None if self.token_bytes is None else self.left_bytes // self.token_bytes

    def fitting(self, tokens: int | None) -> int | None:
        """As many tokens of cache as wanted, at most as many as fit; None = as many as fit."""
        known = [one for one in (tokens, self.cache_tokens) if one is not None]
        return min(known, default=None)


def token_bytes(config: Mapping[str, Any], dtype_bytes: int, gpus: int = 1) -> int | None:
    """The keys and values of one token, on one of the GPUs among which the heads are divided."""
    layers, heads = config.get("num_hidden_layers"), config.get("num_attention_heads")
    if not layers or not heads:
        return None
    width = config.get("head_dim") or config["hidden_size"] // heads
    key_heads = config.get("num_key_value_heads") or heads
    return int(2 * layers * max(1, -(-key_heads // gpus)) * width * dtype_bytes)


def working_bytes(config: Mapping[str, Any], steps: Steps) -> int:
    """About what the largest step takes: states of its tokens, and scores of its requests."""
    hidden, wide = config.get("hidden_size", 4096), config.get("intermediate_size", 4 * 4096)
    states = steps.tokens * (_STATES * hidden + _WIDE_STATES * wide) * _STATE_BYTES
    scores = steps.requests * config.get("vocab_size", _DEFAULT_VOCABULARY) * _SCORES_BYTES
    return int(_BASE_BYTES + states + scores)


def config_of(folder: Path, name: str = "config.json") -> dict[str, Any]:
    """The configuration beside the weights; empty where there is none, as beside a GGUF file.

    Of a model that sees, the configuration of its language model is merged into it.
    """
    file = folder / name
    found: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    return {**found, **(found.get("text_config") or {})}


def files_bytes(folder: Path) -> int:
    """What the weights' files have."""
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))

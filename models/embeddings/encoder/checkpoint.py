"""Reads a BERT's or XLM-RoBERTa's folder: its shape, weights and limits.

The formats are those of transformers and sentence-transformers. A folder for which our forward pass
might compute something else is left to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KNOWN = {"bert", "roberta", "xlm-roberta"}  # they differ only in how positions are counted
_OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of norms, in checkpoints before 2019
_FILES = ("model.safetensors", "pytorch_model.bin")
_POOLINGS = {"cls", "mean"}


@dataclass(frozen=True)
class Shape:
    """The parts of a network's configuration that its weights do not show.

    Attributes:
        heads: of attention.
        epsilon: of the norms.
        padding: the padding token's id, after which RoBERTa's positions start; None = from 0.
        positions: number of positions that the model has.
    """

    heads: int
    epsilon: float
    padding: int | None
    positions: int

    @classmethod
    def of(cls, folder: Path) -> Shape | None:
        """Return the shape of a folder's network; None if our forward pass does not support it."""
        config = _read(folder / "config.json")
        supported = (
            config.get("model_type") in _KNOWN
            and config.get("hidden_act") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
            and not config.get("is_decoder")
            and not config.get("quantization_config")
            and (folder / "tokenizer.json").is_file()
            and any((folder / name).is_file() for name in _FILES)
        )
        if not supported:
            return None
        return cls(
            heads=config["num_attention_heads"],
            epsilon=config.get("layer_norm_eps", 1e-12),
            padding=None if config["model_type"] == "bert" else config.get("pad_token_id", 1),
            positions=config["max_position_embeddings"],
        )

    @property
    def longest(self) -> int:
        """Number of tokens for which there are positions."""
        return self.positions - (0 if self.padding is None else self.padding + 1)


def pooling(folder: Path) -> str | None:
    """Return how a text's vector is pooled: ``cls`` or ``mean``; None if not supported.

    A folder without modules.json comes from transformers; sentence-transformers pools it by mean.
    """
    modules = _read(folder / "modules.json", [])
    if not modules:
        return "mean"
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    if modules[0]["path"]:
        return None
    config = _read(folder / modules[1]["path"] / "config.json")
    mode = config.get("pooling_mode") or _old_mode(config)
    return mode if mode in _POOLINGS else None


def longest(folder: Path, shape: Shape) -> int:
    """Return the folder's limit of tokens in a text, at most the number of positions."""
    limit = _read(folder / "sentence_bert_config.json").get("max_seq_length")
    if limit is None:
        limit = _read(folder / "tokenizer_config.json").get("model_max_length", shape.longest)
    return int(min(limit, shape.longest))


def weights(folder: Path, device: str, dtype: Any) -> Mapping[str, Any]:
    """Load the tensors by their names within the network, on a device and in a dtype.

    On a CPU and in the file's own dtype, they are memory-mapped and read as they are used.
    """
    import torch

    file = next(path for name in _FILES if (path := folder / name).is_file())
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        tensors = load_file(file, device=device)
    else:
        tensors = torch.load(file, map_location=device, weights_only=True, mmap=_is_zip(file))
    return {
        _without_prefix(name): tensor.to(device, dtype)
        for name, tensor in tensors.items()
        if tensor.is_floating_point()
    }


def _without_prefix(name: str) -> str:
    """Return ``encoder.0…LayerNorm.weight`` for ``roberta.encoder.0…LayerNorm.gamma``."""
    parts = name.split(".")
    if parts[0] in ("bert", "roberta"):
        parts = parts[1:]
    return ".".join([*parts[:-1], _OLD_NAMES.get(parts[-1], parts[-1])])


def _old_mode(config: Mapping[str, Any]) -> str | None:
    """Return the mode in the format of sentence-transformers before version 5."""
    modes = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
    names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    return names.get(modes[0]) if len(modes) == 1 else None


def _is_zip(file: Path) -> bool:
    """Whether a file has torch's zip format (since 1.6), which can be memory-mapped."""
    with file.open("rb") as opened:
        return opened.read(2) == b"PK"


def _read(file: Path, default: Any = None) -> Any:
    if not file.is_file():
        return {} if default is None else default
    return json.loads(file.read_text(encoding="utf-8"))

"""A folder of the hub with a BERT or an XLM-RoBERTa in it: its shape, its weights, its limits.

The forms are those that transformers and sentence-transformers write. Whatever this does not know
well enough to compute the same is left to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KNOWN = {"bert", "roberta", "xlm-roberta"}  # one forward pass, two ways to count positions
_OLD_NAMES = {"gamma": "weight", "beta": "bias"}  # of a norm, in checkpoints before 2019
_FILES = ("model.safetensors", "pytorch_model.bin")
_POOLINGS = {"cls", "mean"}


@dataclass(frozen=True)
class Shape:
    """What the weights do not say of themselves.

    Attributes:
        heads: of attention.
        epsilon: of the norms.
        padding: the token id from behind which positions are counted, as RoBERTa's family does;
            None = from 0.
        positions: how many the model has.
    """

    heads: int
    epsilon: float
    padding: int | None
    positions: int

    @classmethod
    def of(cls, folder: Path) -> Shape | None:
        """The shape of a folder's network; None where it is another than ours."""
        config = _read(folder / "config.json")
        ours = (
            config.get("model_type") in _KNOWN
            and config.get("hidden_act") == "gelu"
            and config.get("position_embedding_type", "absolute") == "absolute"
            and not config.get("is_decoder")
            and not config.get("quantization_config")
            and (folder / "tokenizer.json").is_file()
            and any((folder / name).is_file() for name in _FILES)
        )
        if not ours:
            return None
        return cls(
            heads=config["num_attention_heads"],
            epsilon=config.get("layer_norm_eps", 1e-12),
            padding=None if config["model_type"] == "bert" else config.get("pad_token_id", 1),
            positions=config["max_position_embeddings"],
        )

    @property
    def longest(self) -> int:
        """Tokens of the longest text that has positions."""
        return self.positions - (0 if self.padding is None else self.padding + 1)


def pooling(folder: Path) -> str | None:
    """How a text's vector is made of its tokens': ``cls`` or ``mean``; None = in a way not ours.

    A folder that does not say it is one of transformers': sentence-transformers then takes means.
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
    """Tokens that the folder says a text may have, and never more than there are positions."""
    said = _read(folder / "sentence_bert_config.json").get("max_seq_length")
    if said is None:
        said = _read(folder / "tokenizer_config.json").get("model_max_length", shape.longest)
    return int(min(said, shape.longest))


def weights(folder: Path, device: str, dtype: Any) -> Mapping[str, Any]:
    """The tensors by their names within the network, on the device and in its precision.

    On a CPU in the file's own precision they are pages of the file, read as they are used.
    """
    import torch

    file = next(path for name in _FILES if (path := folder / name).is_file())
    if file.suffix == ".safetensors":
        from safetensors.torch import load_file

        found = load_file(file, device=device)
    else:
        found = torch.load(file, map_location=device, weights_only=True, mmap=_is_zip(file))
    return {
        _plain(name): one.to(device, dtype)
        for name, one in found.items()
        if one.is_floating_point()
    }


def _plain(name: str) -> str:
    """``roberta.encoder.layer.0…LayerNorm.gamma`` as ``encoder.layer.0…LayerNorm.weight``."""
    parts = name.split(".")
    if parts[0] in ("bert", "roberta"):
        parts = parts[1:]
    return ".".join([*parts[:-1], _OLD_NAMES.get(parts[-1], parts[-1])])


def _old_mode(config: Mapping[str, Any]) -> str | None:
    """The one way that sentence-transformers before version 5 marks as true."""
    modes = [name for name, value in config.items() if name.startswith("pooling_mode_") and value]
    names = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    return names.get(modes[0]) if len(modes) == 1 else None


def _is_zip(file: Path) -> bool:
    """Whether torch has written it in the form that can be read in place (since 1.6)."""
    with file.open("rb") as opened:
        return opened.read(2) == b"PK"


def _read(file: Path, default: Any = None) -> Any:
    if not file.is_file():
        return {} if default is None else default
    return json.loads(file.read_text(encoding="utf-8"))

"""Conversions that are done once, when weights are fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from models.quiet import hush


def run(name: str, source: Path, into: Path) -> None:
    """Convert ``source`` into a folder that the engine loads.

    Raises:
        KeyError: no conversion has that name.
    """
    CONVERSIONS[name](source, into)


def _llama_bf16(gguf: Path, into: Path) -> None:
    """A GGUF file of a Llama model becomes a plain bfloat16 checkpoint with its tokenizer.

    transformers dequantises the file in 15 to 25 s; the plain checkpoint then loads in about one.
    ``save_pretrained`` refuses a model that came from a GGUF file, so its state moves into a fresh
    one first.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

    hush("transformers")
    where: dict[str, Any] = {"gguf_file": gguf.name, "local_files_only": True}
    read = AutoModelForCausalLM.from_pretrained(gguf.parent, dtype=torch.float32, **where)
    config = read.config
    del config.quantization_config
    config.name_or_path = ""
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.load_state_dict(read.state_dict())
    model.generation_config = read.generation_config
    model.save_pretrained(into)
    AutoTokenizer.from_pretrained(gguf.parent, **where).save_pretrained(into)


CONVERSIONS: dict[str, Callable[[Path, Path], None]] = {"llama-bf16": _llama_bf16}

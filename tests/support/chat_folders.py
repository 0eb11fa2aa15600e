"""Folders of small chat models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conftest import tiny


@pytest.fixture(scope="module")
def folder(store: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Llama whose scores lie far apart, so that two engines' rounding does not matter."""
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = store.resolve(tiny("Llama3_8B_Instruct", "llama"))
    given = json.loads((source / "config.json").read_text())
    sizes = {"hidden_size": 256, "num_attention_heads": 4, "num_key_value_heads": 2}
    more = {"head_dim": 64, "intermediate_size": 256, "max_position_embeddings": 1024}
    made = tmp_path_factory.mktemp("llama")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = LlamaForCausalLM(LlamaConfig(**{**given, **sizes, **more})).float()
        with torch.no_grad():
            model.lm_head.weight *= 60
            model.model.embed_tokens.weight *= 20
    model.generation_config.eos_token_id = [257, 260]
    model.save_pretrained(made)
    AutoTokenizer.from_pretrained(source).save_pretrained(made)
    return made
